//! A benchmark over HTTP speaks the protocol and hides no stall.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::cli::{blockflow, stderr, stdout};

/// One request, parsed.
struct Received {
    line: String,
    header_length: Option<usize>,
    body: Vec<u8>,
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|&length| length > 0)?;
    let (mut length, mut header_length) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "inference-header-content-length" => header_length = value.parse().ok(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        line: line.trim().to_owned(),
        header_length,
        body,
    })
}

/// What goes wrong with requests to the server of these tests.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// Every fifth one is refused.
    Refuses,
    /// The first one takes [`STALL`].
    Stalls,
}

const STALL: Duration = Duration::from_millis(200);

/// Serves a pipeline `echo` with an FP32 input of open first dimension.
fn serve(flaw: Flaw) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream, flaw));
        }
    });
    address
}

fn answer(stream: TcpStream, flaw: Flaw) {
    let mut writer = stream.try_clone().expect("a second handle");
    let mut reader = BufReader::new(stream);
    let mut count = 0;
    while let Some(request) = receive(&mut reader) {
        let (status, body) = if request.line.starts_with("POST /v2/repository/index ") {
            ("200 OK", r#"[{"name": "echo"}]"#.to_owned())
        } else if request.line.starts_with("GET /v2/models/echo ") {
            let tensor = r#"[{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]"#;
            (
                "200 OK",
                format!(r#"{{"name": "echo", "inputs": {tensor}, "outputs": {tensor}}}"#),
            )
        } else if request.line.starts_with("POST /v2/models/echo/infer ") {
            count += 1;
            let length = request.header_length.expect("a header length");
            let json: serde_json::Value =
                serde_json::from_slice(&request.body[..length]).expect("JSON");
            assert_eq!(json["inputs"][0]["shape"], serde_json::json!([4, 3]));
            assert_eq!(request.body.len() - length, 4 * 3 * 4);
            if flaw == Flaw::Stalls && count == 1 {
                // Nobody sends here: it is the time of a slow model that passes.
                let (_keep, never) = std::sync::mpsc::channel::<()>();
                let _ = never.recv_timeout(STALL);
            }
            if flaw == Flaw::Refuses && count % 5 == 0 {
                (
                    "503 Service Unavailable",
                    r#"{"error": "too many"}"#.to_owned(),
                )
            } else {
                ("200 OK", "{}".to_owned())
            }
        } else {
            ("404 Not Found", r#"{"error": "no such path"}"#.to_owned())
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if writer
            .write_all(format!("{head}{body}").as_bytes())
            .is_err()
        {
            return;
        }
    }
}

fn measure(arguments: &[&str]) -> (Option<i32>, serde_json::Value, String) {
    let mut all = vec!["bench", "--rows", "4", "--warmup", "0s", "--format", "json"];
    all.extend(arguments);
    let output = blockflow(&all);
    let report = serde_json::from_str(&stdout(&output)).unwrap_or_default();
    (output.status.code(), report, stderr(&output))
}

#[test]
fn a_closed_loop_over_http_sends_as_many_requests_as_asked() {
    let url = format!("http://{}", serve(Flaw::None));
    let (code, report, errors) =
        measure(&["--url", &url, "--requests", "50", "--concurrency", "3"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(report["arrivals"], "closed");
    assert_eq!(report["concurrency"], 3);
    assert_eq!(report["requests"], 50);
    assert_eq!(report["failed"], 0);
    assert!(report["throughput_per_s"].as_f64().expect("a number") > 0.0);
    let latency = &report["latency_us"];
    let of = |name: &str| latency[name].as_u64().expect("a number");
    assert!(
        of("min") <= of("p50")
            && of("p50") <= of("p95")
            && of("p95") <= of("p99")
            && of("p99") <= of("max")
    );
}

#[test]
fn an_open_loop_over_http_sends_at_its_moments() {
    let url = format!("http://{}", serve(Flaw::None));
    let arguments = [
        "--url",
        &url,
        "--pipeline",
        "echo",
        "--requests",
        "40",
        "--rate",
        "400",
        "--arrivals",
        "constant",
    ];
    let (code, report, errors) = measure(&arguments);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(report["requests"], 40);
    assert_eq!(report["rate_per_s"], 400.0);
    // The last of 40 requests is due 39 gaps of 2.5 ms after the first.
    assert!(
        report["elapsed_s"].as_f64().expect("a number") >= 0.0975,
        "{report}"
    );
}

#[test]
fn failed_requests_are_counted_by_kind_and_end_with_1() {
    let url = format!("http://{}", serve(Flaw::Refuses));
    let (code, report, errors) = measure(&["--url", &url, "--requests", "20"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("4 of 20 requests failed"), "{errors}");
    assert_eq!(report["errors"]["http_503"]["count"], 4);
    assert_eq!(
        report["errors"]["http_503"]["first"],
        r#"{"error": "too many"}"#
    );
}

#[test]
fn a_server_that_is_not_there_or_lacks_the_pipeline_is_told() {
    let closed = TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let (code, _, errors) = measure(&["--url", &format!("http://{closed}")]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("refused"), "{errors}");

    let url = format!("http://{}", serve(Flaw::None));
    let (code, _, errors) = measure(&["--url", &url, "--pipeline", "other"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("404") && errors.contains("no such path"),
        "{errors}"
    );

    let (code, _, errors) = measure(&["--url", &url, "--dim", "time=3"]);
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("time") && errors.contains("x: FP32[?, 3]"),
        "{errors}"
    );
}

#[test]
fn a_stall_shows_in_every_request_that_it_delayed() {
    let url = format!("http://{}", serve(Flaw::Stalls));
    let arguments = [
        "--url",
        &url,
        "--requests",
        "20",
        "--rate",
        "100",
        "--arrivals",
        "constant",
    ];
    let (code, report, errors) = measure(&[&arguments[..], &["--in-flight-max", "1"]].concat());
    assert_eq!(code, Some(0), "{errors}");
    // Request i is due at 10·i ms and answered after 200 ms at the earliest, so ten of them take 100 ms or more.
    let p50 = report["latency_us"]["p50"].as_u64().expect("a number");
    assert!(p50 >= 100_000, "{report}");
    let late = report["lateness_us"]["max"].as_u64().expect("a number");
    assert!(late >= 150_000, "{report}");
}
