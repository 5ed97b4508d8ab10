//! seer
fn main(){}
