//! Environments and flags, carried out by the real operator under the rights and policies of the chart, with pods of the simulated
//! node.

mod bed;
mod flags;
mod lifecycle;
mod names;
mod speaking_tls;
mod workloads;
