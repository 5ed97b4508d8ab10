use local::postgres::*; use std::time::Instant;
#[tokio::main(flavor="current_thread")]
async fn main() {
  for _ in 0..4 {
    let t=Instant::now(); let pg=Cluster::throwaway(Settings::default()).await.unwrap(); print!("throwaway {:?} ",t.elapsed());
    let t=Instant::now(); let s=pg.standby("s",Replication::Synchronous).await.unwrap(); print!("standby {:?} ",t.elapsed());
    let t=Instant::now(); pg.kill().await.unwrap(); print!("kill {:?} ",t.elapsed());
    let t=Instant::now(); s.promote().await.unwrap(); print!("promote {:?} ",t.elapsed());
    let t=Instant::now(); pg.start().await.unwrap(); print!("recover {:?} ",t.elapsed());
    let t=Instant::now(); pg.stop(Shutdown::Fast).await.unwrap(); print!("fast {:?} ",t.elapsed());
    let t=Instant::now(); pg.start().await.unwrap(); print!("start {:?} ",t.elapsed());
    let t=Instant::now(); drop(pg); print!("drop {:?} ",t.elapsed());
    let t=Instant::now(); drop(s); println!("drop {:?} ",t.elapsed());
  }
}
