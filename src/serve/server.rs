//! The listening server: binding, bounds on connections, stopping.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use tokio::sync::watch;

use super::body::BodyLimits;
use super::http::{self, Shared};
use super::{Front, ServeError};

/// Connections one worker holds; one more waits in the kernel's queue.
const CONNECTIONS_PER_WORKER_MAX: usize = 1024;

/// How the server listens.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Port 0 chooses a free port.
    pub address: SocketAddr,
    /// Threads that parse and write HTTP; at least 1.
    pub workers: usize,
    pub body_bytes_max: usize,
    /// How long a graceful stop waits for requests in flight; whole seconds, rounded up.
    pub drain: Duration,
    /// Writes the text of `GET /metrics`.
    pub metrics: fn() -> String,
    pub timeouts: HttpTimeouts,
}

/// How long a client may keep the server waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTimeouts {
    /// For the head of a connection's first request.
    pub head: Duration,
    /// Between two pieces of a body.
    pub body_stall: Duration,
    /// For a whole body.
    pub body: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(5),
            body_stall: Duration::from_secs(10),
            body: Duration::from_secs(300),
            keep_alive: Duration::from_secs(75),
        }
    }
}

/// A server that owns its port and answers nobody yet.
pub struct BoundServer<F> {
    listener: TcpListener,
    address: SocketAddr,
    options: HttpOptions,
    front: F,
    stop: watch::Sender<Wish>,
}

/// Stops a server from any thread.
#[derive(Debug, Clone)]
pub struct StopHandle {
    stop: watch::Sender<Wish>,
}

/// What a server is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Serve,
    /// Connections are not accepted any more; who connects waits in the kernel's queue.
    Pause,
    Stop {
        graceful: bool,
    },
}

/// Takes the port. Nothing is answered until [`BoundServer::run`] is polled.
pub fn bind<F: Front>(options: HttpOptions, front: F) -> Result<BoundServer<F>, ServeError> {
    let address = options.address;
    let listener =
        TcpListener::bind(address).map_err(|cause| ServeError::Bind { address, cause })?;
    listen(listener, options, front)
}

/// Takes a socket that listens already, in place of the options' address.
pub fn listen<F: Front>(
    listener: TcpListener,
    options: HttpOptions,
    front: F,
) -> Result<BoundServer<F>, ServeError> {
    let failed = |cause| ServeError::Bind {
        address: options.address,
        cause,
    };
    let address = listener.local_addr().map_err(failed)?;
    Ok(BoundServer {
        listener,
        address,
        options,
        front,
        stop: watch::channel(Wish::Serve).0,
    })
}

impl<F: Front> BoundServer<F> {
    /// Returns the address clients can connect to, the port being the real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stop_handle(&self) -> StopHandle {
        StopHandle {
            stop: self.stop.clone(),
        }
    }

    /// Serves until it is stopped. Runs inside an actix system; signals are left to the caller.
    pub async fn run(self) -> Result<(), ServeError> {
        let failed = |cause| ServeError::Run { cause };
        let HttpOptions {
            workers,
            body_bytes_max,
            drain,
            metrics,
            timeouts,
            ..
        } = self.options;
        let limits = BodyLimits {
            bytes_max: body_bytes_max,
            stall: timeouts.body_stall,
            whole: timeouts.body,
        };
        let shared = web::Data::new(Shared {
            front: self.front,
            limits,
            metrics,
        });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .configure(http::routes::<F>)
        })
        .workers(workers.max(1))
        .max_connections(CONNECTIONS_PER_WORKER_MAX)
        .client_request_timeout(timeouts.head)
        .keep_alive(timeouts.keep_alive)
        .tcp_nodelay(true)
        // Noticing at once that a client is gone is worth more than clients that close their sending half early:
        // the connection, and with it the handler's future, is dropped as soon as its end is read.
        .h1_allow_half_closed(false)
        .disable_signals()
        .shutdown_timeout(drain.as_secs() + u64::from(drain.subsec_nanos() > 0))
        .listen(self.listener)
        .map_err(failed)?
        .run();
        let handle = server.handle();
        let mut stop = self.stop.subscribe();
        let mut seen = Wish::Serve;
        // Held to the end, so the wait below cannot end for want of a sender.
        let _sender = self.stop;
        tokio::pin!(server);
        let graceful = loop {
            let wish = tokio::select! {
                ended = &mut server => return ended.map_err(failed),
                wish = stop.wait_for(|wish| *wish != seen) => wish.map_or(seen, |wish| *wish),
            };
            seen = wish;
            match wish {
                Wish::Serve => {}
                // The order is given by the call; the server, which is not polled here, carries it out later.
                Wish::Pause => drop(handle.pause()),
                Wish::Stop { graceful } => break graceful,
            }
        };
        let stopping = handle.stop(graceful);
        let (ended, ()) = tokio::join!(server, stopping);
        ended.map_err(failed)
    }
}

impl StopHandle {
    /// Accepts no connections until the stop. Who connects waits; who is connected is served.
    pub fn pause(&self) {
        self.stop.send_if_modified(|wish| {
            let serves = *wish == Wish::Serve;
            if serves {
                *wish = Wish::Pause;
            }
            serves
        });
    }

    /// Stops taking connections. If `graceful`, requests in flight are answered first, up to the drain time.
    pub fn stop(&self, graceful: bool) {
        self.stop.send_replace(Wish::Stop { graceful });
    }
}

impl<F> fmt::Debug for BoundServer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
