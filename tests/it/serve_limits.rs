//! Hazard: slow or greedy clients, a taken port, pipelining, a stop in the middle of a request.

use std::net::Shutdown;
use std::time::Duration;

use blockflow::serve::HttpTimeouts;

use crate::serve_support::{
    BODY_BYTES_MAX, Event, Server, get, infer, options, post_with, request,
};

fn impatient() -> Server {
    let mut options = options();
    options.timeouts = HttpTimeouts {
        head: Duration::from_millis(300),
        body_stall: Duration::from_millis(300),
        body: Duration::from_secs(2),
        keep_alive: Duration::from_millis(300),
    };
    Server::start_with(options)
}

#[test]
fn a_head_that_never_ends_is_timed_out() {
    let server = impatient();
    let mut client = server.connect();
    client.send(b"GET /v2 HTTP/1.1\r\nHost: te");
    assert_eq!(client.receive().expect("a response").status, 408);
    assert!(client.receive().is_none());
}

#[test]
fn a_body_that_stalls_is_timed_out() {
    let server = impatient();
    let mut client = server.connect();
    client.send(
        b"POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{",
    );
    let response = client.receive().expect("a response");
    assert_eq!(response.status, 408);
    assert!(
        response.error().contains("1 bytes had arrived"),
        "{}",
        response.error()
    );
    assert!(client.receive().is_none());
}

#[test]
fn a_body_that_trickles_is_timed_out() {
    let server = impatient();
    let mut client = server.connect();
    client.send(b"POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut sender = client.stream.try_clone().unwrap();
    let response = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed)
                && std::io::Write::write_all(&mut sender, b"1\r\n \r\n").is_ok()
            {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let response = client.receive();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        response.expect("a response")
    });
    assert_eq!(response.status, 408, "{}", response.text());
}

#[test]
fn an_idle_connection_is_closed() {
    let server = impatient();
    let mut client = server.connect();
    assert_eq!(client.exchange(&get("/v2")).status, 200);
    assert!(client.receive().is_none());
}

#[test]
fn a_body_larger_than_announced_limits_is_refused_before_it_is_sent() {
    let server = Server::start();
    let mut client = server.connect();
    let head = format!(
        "POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        BODY_BYTES_MAX + 1
    );
    let response = client.exchange(head.as_bytes());
    assert_eq!(response.status, 413);
    assert!(response.error().contains("server.body_bytes_max"));
}

#[test]
fn a_body_of_exactly_the_limit_is_read() {
    let server = Server::start();
    let mut body = request("FP32", "[1, 2]", "[1, 2]").into_bytes();
    body.resize(BODY_BYTES_MAX, b' ');
    let response = server
        .connect()
        .exchange(&post_with("/v2/models/echo_FP32/infer", &[], &body));
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn an_endless_chunked_body_is_refused_at_the_limit() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(b"POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    for _ in 0..=BODY_BYTES_MAX / 0x10000 {
        client.send(&chunk);
    }
    let response = client.receive().expect("a response");
    assert_eq!(response.status, 413);
    assert!(response.error().contains("larger than"));
}

#[test]
fn a_chunked_body_is_served() {
    let server = Server::start();
    let json = request("FP32", "[1, 2]", "[1, 2]");
    let (first, second) = json.split_at(7);
    let head = "POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = format!(
        "{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    let response = server
        .connect()
        .exchange(format!("{head}{body}").as_bytes());
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn an_expected_continue_is_given() {
    let server = Server::start();
    let mut client = server.connect();
    let json = request("FP32", "[1, 2]", "[1, 2]");
    let head = format!(
        "POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        json.len()
    );
    assert_eq!(client.exchange(head.as_bytes()).status, 100);
    assert_eq!(client.exchange(json.as_bytes()).status, 200);
}

#[test]
fn a_body_that_ends_early_is_refused_and_says_how_much_came() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(b"POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{\"inputs\"");
    client.stream.shutdown(Shutdown::Write).unwrap();
    let response = client.receive().expect("a response");
    assert_eq!(response.status, 400);
    assert!(
        response.error().contains("after 9 bytes of 100"),
        "{}",
        response.error()
    );
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let server = Server::start();
    let mut options = options();
    options.address = server.address;
    let gateway = NoPipelines;
    let error = blockflow::serve::bind(options, gateway)
        .expect_err("the port is taken")
        .to_string();
    assert!(error.contains(&server.address.to_string()), "{error}");
    assert!(
        error.contains("already in use") && error.contains("server.http"),
        "{error}"
    );
}

#[test]
fn an_address_of_another_machine_is_named_with_what_to_do() {
    let mut options = options();
    options.address = ([192, 0, 2, 1], 0).into();
    let error = blockflow::serve::bind(options, NoPipelines)
        .expect_err("not ours")
        .to_string();
    assert!(
        error.contains("192.0.2.1") && error.contains("no interface"),
        "{error}"
    );
}

#[test]
fn a_graceful_stop_answers_what_is_in_flight() {
    let mut server = Server::start();
    let mut client = server.connect();
    let json = request("FP32", "[1, 2]", "[1, 2]");
    let head = format!(
        "POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        json.len()
    );
    // The interim answer proves that the handler is running.
    assert_eq!(client.exchange(head.as_bytes()).status, 100);
    server.stop.stop(true);
    let response = client.exchange(json.as_bytes());
    assert_eq!(response.status, 200, "{}", response.text());
    server.join().unwrap();
}

#[test]
fn a_graceful_stop_gives_up_on_a_request_after_the_drain_time() {
    let mut options = options();
    options.drain = Duration::from_millis(100);
    let mut server = Server::start_with(options);
    let mut client = server.connect();
    client.send(&infer("never", &request("FP32", "[1, 2]", "[1, 2]")));
    assert_eq!(server.event(), Event::Submitted { deadline: None });
    server.stop.stop(true);
    assert_eq!(server.event(), Event::Dropped);
    server.join().unwrap();
}

#[test]
fn a_server_stopped_before_it_runs_ends_at_once() {
    let bound = blockflow::serve::bind(options(), NoPipelines).unwrap();
    bound.stop_handle().stop(false);
    actix_rt::System::new().block_on(bound.run()).unwrap();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.connect();
    let one = |value: &str| infer("echo_INT32", &request("INT32", "[1,1]", value));
    client.send(&[one("[1]"), one("[oops]"), one("[3]")].concat());
    assert_eq!(
        client.receive().unwrap().json()["outputs"][0]["data"],
        serde_json::json!([1])
    );
    assert_eq!(client.receive().unwrap().status, 400);
    assert_eq!(
        client.receive().unwrap().json()["outputs"][0]["data"],
        serde_json::json!([3])
    );
}

/// A backend without pipelines.
#[derive(Debug, Clone)]
struct NoPipelines;

impl blockflow::serve::Front for NoPipelines {
    type Backend = Self;

    fn current(&self) -> Self {
        self.clone()
    }

    fn load(
        &self,
        _: String,
    ) -> impl Future<Output = Result<(), blockflow::types::Failure>> + 'static {
        std::future::ready(Ok(()))
    }

    fn unload(
        &self,
        _: String,
    ) -> impl Future<Output = Result<(), blockflow::types::Failure>> + 'static {
        std::future::ready(Ok(()))
    }

    fn unloaded(&self) -> Vec<String> {
        Vec::new()
    }
}

impl blockflow::serve::Backend for NoPipelines {
    type Reply =
        std::future::Pending<Result<blockflow::actors::InferReply, blockflow::types::Failure>>;

    fn pipelines(&self) -> &[blockflow::actors::PipelineInfo] {
        &[]
    }

    fn state(&self, _: usize) -> blockflow::actors::PipelineState {
        blockflow::actors::PipelineState::Ready
    }

    fn submit(
        &self,
        _: blockflow::actors::InferRequest,
    ) -> Result<Self::Reply, blockflow::types::Failure> {
        Ok(std::future::pending())
    }
}
