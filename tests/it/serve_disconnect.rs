//! Hazard: a client that goes away while its request is being served keeps the pipelines busy for nobody.

use std::net::Shutdown;

use crate::serve_support::{Client, Event, Server, get, infer, infer_binary, request};

fn waiting_request(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(&infer("never", &request("FP32", "[1, 2]", "[1, 2]")));
    assert_eq!(server.event(), Event::Submitted { deadline: None });
    client
}

/// The server is alive and no request was left behind.
fn still_serves(server: &Server) {
    assert_eq!(
        server.connect().exchange(&get("/v2/health/live")).status,
        200
    );
    assert!(server.events.try_recv().is_err());
}

#[test]
fn closing_the_connection_drops_the_request() {
    let server = Server::start();
    drop(waiting_request(&server));
    assert_eq!(server.event(), Event::Dropped);
    still_serves(&server);
}

#[test]
fn closing_the_connection_after_a_binary_body_drops_the_request() {
    let server = Server::start();
    let json = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1000],"parameters":{"binary_data_size":4000}}]}"#;
    let mut client = server.connect();
    client.send(&infer_binary("never", json, &[0; 4000]));
    assert_eq!(server.event(), Event::Submitted { deadline: None });
    drop(client);
    assert_eq!(server.event(), Event::Dropped);
    still_serves(&server);
}

#[test]
fn resetting_the_connection_drops_the_request() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(
        &[
            get("/v2"),
            infer("never", &request("FP32", "[1, 2]", "[1, 2]")),
        ]
        .concat(),
    );
    assert_eq!(server.event(), Event::Submitted { deadline: None });
    // A socket that is closed with unread data, here the first response, sends a reset instead of an end.
    client.stream.peek(&mut [0]).unwrap();
    drop(client);
    assert_eq!(server.event(), Event::Dropped);
    still_serves(&server);
}

#[test]
fn closing_only_the_sending_half_drops_the_request() {
    let server = Server::start();
    let client = waiting_request(&server);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.event(), Event::Dropped);
    still_serves(&server);
}

#[test]
fn closing_behind_a_pipelined_second_request_drops_the_first() {
    let server = Server::start();
    let mut client = waiting_request(&server);
    client.send(&get("/v2"));
    drop(client);
    assert_eq!(server.event(), Event::Dropped);
    still_serves(&server);
}

#[test]
fn a_connection_that_stays_open_keeps_its_request() {
    let server = Server::start();
    let client = waiting_request(&server);
    for _ in 0..20 {
        assert_eq!(
            server.connect().exchange(&get("/v2/health/live")).status,
            200
        );
    }
    assert!(
        server.events.try_recv().is_err(),
        "the request was dropped under a live client"
    );
    drop(client);
    assert_eq!(server.event(), Event::Dropped);
}

#[test]
fn one_client_going_away_leaves_the_others_alone() {
    let server = Server::start();
    let mut clients: Vec<_> = (0..8).map(|_| waiting_request(&server)).collect();
    drop(clients.pop());
    assert_eq!(server.event(), Event::Dropped);
    still_serves(&server);
    drop(clients);
    for _ in 0..7 {
        assert_eq!(server.event(), Event::Dropped);
    }
}

#[test]
fn a_stop_without_grace_drops_the_request() {
    let mut server = Server::start();
    let mut client = waiting_request(&server);
    server.stop.stop(false);
    assert_eq!(server.event(), Event::Dropped);
    server.join().unwrap();
    assert!(client.receive().is_none());
}
