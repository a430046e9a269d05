//! Splits on both routers, carried out by the real operator and served by the real proxy.

mod attached;
mod bed;
mod managed;
