//! A process per client.

use std::io;
use std::sync::Arc;

use bingfa::coroutine;
use bingfa::net::{SocketAddr, TcpStream};
use bingfa::process::Builder;
use bingfa::sync::Semaphore;
use bingfa_examples::need_descriptors;
use serde::{Serialize, de::DeserializeOwned};

/// So many places for children that serve a client each.
pub(crate) struct Places(Arc<Semaphore>);

impl Places {
    /// # Errors
    /// If this process may not have as many descriptors open as that takes, with `others`.
    pub(crate) fn new(at_most: u16, others: u32) -> io::Result<Places> {
        // Two for each child.
        need_descriptors(2 * u64::from(at_most) + u64::from(others) + 64)?;
        Ok(Places(Arc::new(Semaphore::new(at_most.into()))))
    }

    /// Serves a client in a process of its own. Waits if there are as many as may be: the next
    /// clients stay in the backlog meanwhile.
    ///
    /// The connection becomes the child's alone. In the notes the parent keeps its copy, so that
    /// the client sees no end until both are closed, and collects no child. A child that
    /// dies takes only its client along, and is named.
    ///
    /// # Errors
    /// If no child can be made.
    pub(crate) fn serve<A>(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        with: A,
        handler: fn((TcpStream, SocketAddr, A)),
    ) -> io::Result<()>
    where
        A: Serialize + DeserializeOwned,
    {
        let place = self.0.acquire_arc();
        let builder = Builder::new().name(format!("client {peer}"));
        let child = builder.spawn((stream, peer, with), handler)?;
        coroutine::spawn(move || {
            if let Err(died) = child.join() {
                eprintln!("{died}");
            }
            drop(place);
        });
        Ok(())
    }
}
