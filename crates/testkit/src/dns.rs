//! A name server whose answers a test writes: addresses that change, failures, silence. Network I/O, over UDP.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use hickory_proto::{
    op::{Message, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, SOA},
    },
};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// What is answered to a question for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The addresses of the family that is asked for, in this order, good for so many seconds. Without one of the family: that there is
    /// none.
    Addresses(Vec<IpAddr>, u32),
    /// It is another name of this one, whose own answer is added.
    Alias(String, u32),
    /// There is no such name.
    NoSuchName,
    /// The server fails.
    Fails,
    /// Nothing.
    Silence,
}

/// A running name server; ends when dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Zone>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Zone(Mutex<BTreeMap<String, Reply>>);

impl NameServer {
    /// Serves on a free port of the loopback address. Names without a reply do not exist.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen for questions")?;
        let address = socket.local_addr()?;
        let zone = Arc::new(Zone::default());
        let task = tokio::spawn(serve(socket, Arc::clone(&zone)));
        Ok(Self { address, zone, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is the reply to questions for the name.
    pub fn reply(&self, name: &str, reply: Reply) {
        self.zone.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), reply);
    }

    /// From now on the name has these addresses, for a second each time.
    pub fn addresses(&self, name: &str, addresses: impl IntoIterator<Item = impl Into<IpAddr>>) {
        self.reply(name, Reply::Addresses(addresses.into_iter().map(Into::into).collect(), 1));
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = vec![0; 4096];
    loop {
        // A datagram that could not be delivered comes back as an error of the next call: the asker is gone.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let question = buffer.get(..length).and_then(|bytes| Message::from_vec(bytes).ok());
        let Some(answer) = question.and_then(|question| zone.answer(&question)) else { continue };
        match answer.to_vec() {
            Ok(bytes) => drop(socket.send_to(&bytes, from).await),
            Err(error) => tracing::warn!(%error, "an answer cannot be written"),
        }
    }
}

impl Zone {
    fn answer(&self, question: &Message) -> Option<Message> {
        let query = question.queries.first()?;
        let name = text(query.name());
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        self.reply(&name, query, &mut answer).then_some(answer)
    }

    /// Adds what is known of a name; false for silence.
    fn reply(&self, name: &str, query: &Query, answer: &mut Message) -> bool {
        let reply = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let owner = Name::from_ascii(format!("{name}.")).unwrap_or_default();
        match reply.unwrap_or(Reply::NoSuchName) {
            Reply::Silence => return false,
            Reply::Fails => answer.metadata.response_code = ResponseCode::ServFail,
            Reply::NoSuchName => answer.metadata.response_code = ResponseCode::NXDomain,
            Reply::Alias(other, ttl) => {
                let target = Name::from_ascii(format!("{other}.")).unwrap_or_default();
                answer.add_answer(Record::from_rdata(owner, ttl, RData::CNAME(CNAME(target))));
                return self.reply(&other, query, answer);
            }
            Reply::Addresses(addresses, ttl) => {
                let of_type =
                    addresses.into_iter().map(RData::from).filter(|it| it.record_type() == query.query_type());
                let records: Vec<Record> = of_type.map(|it| Record::from_rdata(owner.clone(), ttl, it)).collect();
                if records.is_empty() && matches!(query.query_type(), RecordType::A | RecordType::AAAA) {
                    // How long it holds that there is none.
                    let authority = SOA::new(owner.clone(), owner.clone(), 1, 60, 60, 60, ttl);
                    answer.add_authority(Record::from_rdata(owner, ttl, RData::SOA(authority)));
                }
                answer.add_answers(records);
            }
        }
        true
    }
}

/// Without the final dot, in lower case.
fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_lowercase()
}
