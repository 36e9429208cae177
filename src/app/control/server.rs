//! The running server's side.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::error::{InternalError, JsonPayloadError};
use actix_web::http::KeepAlive;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

use crate::app::history::{CONTROL, Trigger};
use crate::app::reload::{Ask, Outcome, Reloads};
use crate::telemetry::metrics;

use super::{Answer, Rollback, Status, Swapped, Unpinned};

/// Bytes of a command at most.
const COMMAND_BYTES_MAX: usize = 1 << 16;
/// Commands at a time; one more waits in the kernel's queue.
const COMMANDS_MAX: usize = 16;
/// How long the head of a command may take to come.
const HEAD: Duration = Duration::from_secs(5);

/// Takes commands until it is stopped.
#[derive(Debug)]
pub(in crate::app) struct Listening {
    handle: ServerHandle,
    socket: PathBuf,
    /// Which file the socket is.
    node: (u64, u64),
}

/// A path to the socket that is short wherever the directory is, for as long as the directory is open: a socket's path has few
/// bytes.
pub(super) fn socket_in(directory: &File) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(CONTROL)
}

impl Listening {
    /// Begins to take commands in a state directory that this process has. Called inside an actix system.
    pub(in crate::app) fn start(state: &Path, reloads: Reloads) -> io::Result<Self> {
        let directory = File::open(state)?;
        let (near, socket) = (socket_in(&directory), state.join(CONTROL));
        match fs::remove_file(&near) {
            // Left by a server that was killed.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&near)?;
        fs::set_permissions(&near, Permissions::from_mode(0o600))?;
        let node = node(&near)?;
        let reloads = web::Data::new(reloads);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(reloads.clone())
                .app_data(
                    web::JsonConfig::default()
                        .limit(COMMAND_BYTES_MAX)
                        .content_type_required(false)
                        .error_handler(wrong),
                )
                .route("/v1/status", web::get().to(status))
                .route("/v1/plan", web::get().to(plan))
                .route("/v1/reload", web::post().to(reload))
                .route("/v1/rollback", web::post().to(rollback))
                .route("/v1/swap", web::post().to(swap))
                .route("/v1/unpin", web::post().to(unpin))
                .default_service(web::to(unknown))
        })
        .workers(1)
        .max_connections(COMMANDS_MAX)
        .client_request_timeout(HEAD)
        .keep_alive(KeepAlive::Disabled)
        .disable_signals()
        .listen_uds(listener)?
        .run();
        let handle = server.handle();
        actix::spawn(server);
        Ok(Self {
            handle,
            socket,
            node,
        })
    }

    /// Takes no commands any more; one that is being done goes on, and nobody hears of it.
    pub(in crate::app) async fn stop(self) {
        self.handle.stop(false).await;
        // The next server may be there already, with a socket of its own.
        if node(&self.socket).is_ok_and(|node| node == self.node) {
            let _ = fs::remove_file(&self.socket);
        }
    }
}

fn node(path: &Path) -> io::Result<(u64, u64)> {
    let data = fs::symlink_metadata(path)?;
    Ok((data.dev(), data.ino()))
}

async fn status() -> HttpResponse {
    let epoch = metrics::lifecycle().epoch.get();
    HttpResponse::Ok().json(Status {
        epoch: u32::try_from(epoch).unwrap_or_default(),
        process: std::process::id(),
    })
}

async fn plan(reloads: web::Data<Reloads>) -> HttpResponse {
    match reloads.wait(Ask::Plan).await {
        Outcome::Planned(planned) => HttpResponse::Ok().json(planned),
        other => HttpResponse::Conflict().json(Answer::from(other)),
    }
}

async fn reload(reloads: web::Data<Reloads>) -> HttpResponse {
    done(&reloads, Ask::Reload(Trigger::Request)).await
}

async fn rollback(reloads: web::Data<Reloads>, asked: web::Json<Rollback>) -> HttpResponse {
    let epoch = asked.epoch;
    done(&reloads, Ask::Rollback { epoch }).await
}

async fn swap(reloads: web::Data<Reloads>, asked: web::Json<Swapped>) -> HttpResponse {
    let Swapped {
        block,
        file,
        pinned,
    } = asked.into_inner();
    if !file.is_absolute() {
        return refuse(format!("{}: expected an absolute path", file.display()));
    }
    let ask = Ask::Swap {
        block,
        file,
        pinned,
    };
    done(&reloads, ask).await
}

async fn unpin(reloads: web::Data<Reloads>, asked: web::Json<Unpinned>) -> HttpResponse {
    let Unpinned { block } = asked.into_inner();
    done(&reloads, Ask::Unpin { block }).await
}

async fn done(reloads: &Reloads, ask: Ask) -> HttpResponse {
    HttpResponse::Ok().json(Answer::from(reloads.wait(ask).await))
}

async fn unknown(request: HttpRequest) -> HttpResponse {
    let path = request.path();
    refuse(format!("there is no command {} {path}", request.method()))
}

fn wrong(error: JsonPayloadError, _: &HttpRequest) -> actix_web::Error {
    let response = refuse(format!("the command is not what was expected: {error}"));
    InternalError::from_response(error, response).into()
}

fn refuse(reason: String) -> HttpResponse {
    HttpResponse::BadRequest().json(Answer::Rejected {
        reasons: vec![reason],
    })
}
