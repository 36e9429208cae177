//! Hazard: the front end speaks a dialect that clients of the Open Inference Protocol do not understand.

use std::time::Duration;

use blockflow::types::{DType, FailureKind};
use serde_json::json;

use crate::serve_support::{
    Event, Response, Server, get, infer, infer_binary, input, post_with, request,
};

fn ok(server: &Server, bytes: &[u8]) -> Response {
    let response = server.connect().exchange(bytes);
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

#[test]
fn server_metadata_names_the_binary_extension() {
    let server = Server::start();
    let metadata = ok(&server, &get("/v2")).json();
    assert_eq!(
        metadata,
        json!({"name": "blockflow", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data", "model_repository"]})
    );
}

#[test]
fn pipeline_metadata_writes_open_sizes_as_minus_one() {
    let server = Server::start();
    let expected = json!([
        {"name": "a", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "b", "datatype": "INT64", "shape": [-1]},
    ]);
    for path in ["/v2/models/pair", "/v2/models/pair/versions/1"] {
        let metadata = ok(&server, &get(path)).json();
        assert_eq!(metadata["name"], "pair");
        assert_eq!(metadata["versions"], json!(["1"]));
        assert_eq!(metadata["platform"], "blockflow_pipeline");
        assert_eq!(metadata["inputs"], expected);
        assert_eq!(metadata["outputs"], expected);
    }
}

#[test]
fn readiness_is_told_with_its_reason() {
    let server = Server::start();
    assert_eq!(ok(&server, &get("/v2/health/live")).body, b"");
    for path in ["/v2/models/pair/ready", "/v2/models/pair/versions/1/ready"] {
        assert_eq!(ok(&server, &get(path)).body, b"");
    }
    for path in ["/v2/health/ready", "/v2/models/loading/ready"] {
        let response = server.connect().exchange(&get(path));
        assert_eq!(response.status, 503);
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(
            response.error(),
            "pipeline \"loading\" is not ready: block \"backbone\" is loading"
        );
    }
}

#[test]
fn the_index_lists_pipelines_with_their_states() {
    let server = Server::start();
    let index = |body: &str| {
        ok(
            &server,
            &post_with("/v2/repository/index", &[], body.as_bytes()),
        )
        .json()
    };
    let all = index("");
    assert_eq!(
        all[0],
        json!({"name": "pair", "version": "1", "state": "READY", "reason": ""})
    );
    let loading = all
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "loading")
        .unwrap();
    assert_eq!(loading["state"], "UNAVAILABLE");
    assert_eq!(loading["reason"], "block \"backbone\" is loading");
    let ready = index(r#"{"ready": true}"#);
    assert_eq!(
        ready.as_array().unwrap().len() + 2,
        all.as_array().unwrap().len()
    );
    let resting = all.as_array().unwrap().last().unwrap();
    let expected =
        json!({"name": "resting", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"});
    assert_eq!(*resting, expected);
}

#[test]
fn what_is_unloaded_is_not_there_and_says_how_it_comes_back() {
    let server = Server::start();
    for path in ["/v2/models/resting", "/v2/models/resting/ready"] {
        let response = server.connect().exchange(&get(path));
        assert_eq!(response.status, 404);
        assert!(
            response
                .error()
                .contains("resting/load has it be served again")
        );
    }
    let unload = |name: &str, body: &str| {
        let path = format!("/v2/repository/models/{name}/unload");
        server
            .connect()
            .exchange(&post_with(&path, &[], body.as_bytes()))
            .status
    };
    let dependents = r#"{"parameters": {"unload_dependents": true}}"#;
    for body in ["", "{}", dependents] {
        assert_eq!(
            (unload("pair", body), unload("resting", body)),
            (200, 200),
            "{body}"
        );
        assert_eq!(unload("nobody", body), 404, "{body}");
    }
    for body in [
        "[",
        r#"{"parameters": {"force": true}}"#,
        r#"{"parameters": 1}"#,
    ] {
        assert_eq!(unload("pair", body), 400, "{body}");
    }
}

#[test]
fn a_pipeline_has_no_configuration_and_says_so() {
    let server = Server::start();
    let response = server.connect().exchange(&get("/v2/models/pair/config"));
    assert_eq!(response.status, 404);
    assert!(
        response
            .error()
            .contains("GET /v2/models/pair describes it")
    );
    assert_eq!(
        server
            .connect()
            .exchange(&get("/v2/models/nobody/config"))
            .status,
        404
    );
}

#[test]
fn metrics_and_front_page_are_text() {
    let server = Server::start();
    let metrics = ok(&server, &get("/metrics"));
    assert_eq!(metrics.text(), "blockflow_test 1\n");
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let front = ok(&server, &get("/"));
    assert!(front.text().contains("/v2/models/{name}/infer") && front.text().contains("pair"));
    assert!(
        front
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
}

#[test]
fn a_wrong_method_is_told_the_right_one() {
    let server = Server::start();
    let response = server.connect().exchange(&get("/v2/models/pair/infer"));
    assert_eq!(response.header("allow"), Some("POST"));
}

#[test]
fn every_datatype_with_a_json_form_survives_json() {
    let server = Server::start();
    for (datatype, sent, back) in [
        ("BOOL", "[true,false]", "[true,false]"),
        ("UINT8", "[0,255]", "[0,255]"),
        ("INT8", "[-128,127]", "[-128,127]"),
        ("INT16", "[-32768,32767]", "[-32768,32767]"),
        (
            "INT32",
            "[-2147483648,2147483647]",
            "[-2147483648,2147483647]",
        ),
        (
            "INT64",
            "[-9223372036854775808,9223372036854775807]",
            "[-9223372036854775808,9223372036854775807]",
        ),
        ("FP16", "[0.5,-65504]", "[0.5,-65504.0]"),
        ("FP32", "[0.1,-3.4028235e38]", "[0.1,-3.4028235e38]"),
        ("FP32", "[16777217,-0]", "[16777216.0,-0.0]"),
        (
            "FP64",
            "[0.1,-1.7976931348623157e308]",
            "[0.1,-1.7976931348623157e308]",
        ),
        (
            "FP64",
            "[5e-324,9007199254740993]",
            "[5e-324,9007199254740992.0]",
        ),
        (
            "BYTES",
            r#"["","zwölf \"\\\u00e9\n,]["]"#,
            r#"["","zwölf \"\\é\n,]["]"#,
        ),
    ] {
        let response = ok(
            &server,
            &infer(
                &format!("echo_{datatype}"),
                &request(datatype, "[1,2]", sent),
            ),
        );
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("inference-header-content-length"), None);
        let expected = format!(
            r#"{{"model_name":"echo_{datatype}","model_version":"1","outputs":[{{"name":"x","datatype":"{datatype}","shape":[1,2],"data":{back}}}]}}"#
        );
        // serde_json prints exponents with a sign.
        assert_eq!(response.text().replace("e+", "e"), expected);
    }
}

#[test]
fn every_datatype_survives_binary() {
    let server = Server::start();
    for dtype in DType::ALL {
        let binary: Vec<u8> = match dtype {
            DType::Bool => vec![0, 1],
            DType::Bytes => vec![1, 0, 0, 0, 0xff, 0, 0, 0, 0],
            dtype => (0xe8..=0xff).take(2 * dtype.size().unwrap()).collect(),
        };
        let size = binary.len();
        let json = format!(
            r#"{{"id":"7","inputs":[{{"name":"x","shape":[1,2],"datatype":"{dtype}","parameters":{{"binary_data_size":{size}}}}}],"parameters":{{"binary_data_output":true}}}}"#
        );
        let response = ok(
            &server,
            &infer_binary(&format!("echo_{dtype}"), &json, &binary),
        );
        assert_eq!(
            response.header("content-type"),
            Some("application/octet-stream")
        );
        let (header, bytes) = response.binary();
        assert_eq!(
            header,
            json!({
                "model_name": format!("echo_{dtype}"), "model_version": "1", "id": "7",
                "outputs": [{
                    "name": "x", "datatype": dtype.name(), "shape": [1, 2],
                    "parameters": {"binary_data_size": size},
                }],
            })
        );
        assert_eq!(bytes, binary, "{dtype}");
    }
}

/// Inputs of the pipeline `pair`, `b` before `a`, with something behind them.
fn pair(rest: &str) -> Vec<u8> {
    let inputs = r#"[{"data":[7],"shape":[1],"datatype":"INT64","name":"b"},{"data":[[1,2,3]],"name":"a","datatype":"FP32","shape":[1,3]}]"#;
    infer("pair", &format!(r#"{{"inputs":{inputs}{rest}}}"#))
}

#[test]
fn inputs_may_come_in_any_order_and_outputs_come_in_the_pipelines() {
    let server = Server::start();
    let outputs = ok(&server, &pair("")).json()["outputs"].clone();
    assert_eq!(outputs[0]["name"], "a");
    assert_eq!(outputs[0]["data"], json!([1.0, 2.0, 3.0]));
    assert_eq!(
        outputs[1],
        json!({"name": "b", "datatype": "INT64", "shape": [1], "data": [7]})
    );
}

#[test]
fn outputs_are_selected_and_ordered_by_the_request() {
    let server = Server::start();
    let names = |rest: &str| -> Vec<String> {
        let json = ok(&server, &pair(rest)).json();
        json["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|output| output["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(r#","outputs":[{"name":"b"},{"name":"a"}]"#),
        ["b", "a"]
    );
    assert_eq!(names(r#","outputs":[{"name":"b"}]"#), ["b"]);
    assert_eq!(names(r#","outputs":[]"#), ["a", "b"]);
    assert_eq!(names(r#","outputs":null"#), ["a", "b"]);
}

#[test]
fn one_response_may_mix_json_and_binary() {
    let server = Server::start();
    for rest in [
        r#","outputs":[{"name":"b"},{"name":"a","parameters":{"binary_data":true}}]"#,
        r#","outputs":[{"name":"b","parameters":{"binary_data":false}},{"name":"a"}],"parameters":{"binary_data_output":true}"#,
    ] {
        let response = ok(&server, &pair(rest));
        let (header, bytes) = response.binary();
        assert_eq!(header["outputs"][0]["data"], json!([7]));
        assert_eq!(header["outputs"][1].get("data"), None);
        let a: Vec<u8> = [1_f32, 2.0, 3.0]
            .into_iter()
            .flat_map(f32::to_le_bytes)
            .collect();
        assert_eq!(bytes, a);
    }
}

#[test]
fn binary_inputs_are_taken_in_the_order_of_the_request() {
    let server = Server::start();
    let json = r#"{"inputs":[{"name":"b","shape":[1],"datatype":"INT64","parameters":{"binary_data_size":8}},{"name":"a","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}"#;
    let mut bytes = 7_i64.to_le_bytes().to_vec();
    bytes.extend([1_f32, 2.0, 3.0].into_iter().flat_map(f32::to_le_bytes));
    let outputs = ok(&server, &infer_binary("pair", json, &bytes)).json()["outputs"].clone();
    assert_eq!(outputs[0]["data"], json!([1.0, 2.0, 3.0]));
    assert_eq!(outputs[1]["data"], json!([7]));
}

#[test]
fn an_output_of_many_pieces_arrives_whole() {
    let server = Server::start();
    let binary: Vec<u8> = (0..1_000_000_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    let json = r#"{"inputs":[{"name":"x","shape":[1000,1000],"datatype":"UINT8","parameters":{"binary_data_size":1000000}}],"parameters":{"binary_data_output":true}}"#;
    let response = ok(&server, &infer_binary("echo_UINT8", json, &binary));
    assert!(response.binary().1 == binary);
}

#[test]
fn a_request_id_is_echoed_and_none_invented() {
    let server = Server::start();
    let input = input("FP32", "[1,1]", "[1]");
    let id = |id: &str| {
        ok(
            &server,
            &infer("echo_FP32", &format!(r#"{{{id}"inputs":[{input}]}}"#)),
        )
        .json()
        .get("id")
        .cloned()
    };
    assert_eq!(
        id(r#""id":"a \"quoted\" ÄÖ","#),
        Some(json!("a \"quoted\" ÄÖ"))
    );
    assert_eq!(id(r#""id":"","#), Some(json!("")));
    assert_eq!(id(""), None);
}

#[test]
fn shapes_without_elements_and_scalars_are_served() {
    let server = Server::start();
    for (shape, data) in [
        ("[0,2]", "[]"),
        ("[2,0]", "[]"),
        ("[2,0]", "[[],[]]"),
        ("[0,0]", " [ ] "),
    ] {
        let json = ok(&server, &infer("echo_FP32", &request("FP32", shape, data))).json();
        assert_eq!(json["outputs"][0]["data"], json!([]), "{shape} {data}");
    }
    for data in ["5", "[5]"] {
        let json = ok(&server, &infer("scalar", &request("INT32", "[]", data))).json();
        assert_eq!(json["outputs"][0]["shape"], json!([]));
        assert_eq!(json["outputs"][0]["data"], json!([5]));
    }
}

#[test]
fn nested_and_flat_data_are_the_same_tensor() {
    let server = Server::start();
    for data in [
        "[1,2,3,4,5,6]",
        "[[1,2,3],[4,5,6]]",
        " [ [ 1 , 2 ,\n3 ] ,\t[4,5,6] ] ",
    ] {
        let json = ok(
            &server,
            &infer("echo_INT8", &request("INT8", "[2,3]", data)),
        )
        .json();
        assert_eq!(json["outputs"][0]["data"], json!([1, 2, 3, 4, 5, 6]));
    }
}

#[test]
fn unknown_keys_and_parameters_are_ignored() {
    let server = Server::start();
    let json = r#"{"x":[1],"parameters":{"priority":1,"mine":{"a":[]},"sequence_id":0,"sequence_end":false},"inputs":[{"y":{},"name":"x","datatype":"FP32","shape":[1,1],"data":[1],"parameters":{"z":1}}],"outputs":[{"name":"x","parameters":{"z":1}}]}"#;
    ok(&server, &infer("echo_FP32", json));
}

#[test]
fn a_timeout_in_microseconds_becomes_the_deadline() {
    let server = Server::start();
    let input = input("FP32", "[1,1]", "[1]");
    let deadline = |parameters: &str| {
        ok(
            &server,
            &infer(
                "echo_FP32",
                &format!(r#"{{"inputs":[{input}],"parameters":{parameters}}}"#),
            ),
        );
        server.event()
    };
    let submitted = |deadline| Event::Submitted { deadline };
    assert_eq!(
        deadline(r#"{"timeout":1500}"#),
        submitted(Some(Duration::from_micros(1500)))
    );
    assert_eq!(
        deadline(r#"{"timeout":18446744073709551615}"#),
        submitted(Some(Duration::from_micros(u64::MAX)))
    );
    assert_eq!(deadline(r#"{"timeout":0}"#), submitted(None));
    assert_eq!(deadline("{}"), submitted(None));
}

#[test]
fn every_failure_has_its_status() {
    let server = Server::start();
    for kind in FailureKind::ALL {
        let (status, retry, close) = match kind {
            FailureKind::Invalid => (400, false, false),
            FailureKind::Overloaded | FailureKind::Unavailable => (503, true, false),
            FailureKind::DeadlineExceeded => (504, false, false),
            FailureKind::BlockFailed => (500, false, false),
            FailureKind::ShuttingDown => (503, true, true),
            FailureKind::Cancelled => (499, false, false),
        };
        for (how, sentence) in [
            ("refuses", "refused by the test"),
            ("fails", "block \"head\": failed by the test"),
        ] {
            let pipeline = format!("{how}_{}", kind.name());
            let mut client = server.connect();
            let response = client.exchange(&infer(&pipeline, &request("FP32", "[1,1]", "[1]")));
            assert_eq!(response.status, status, "{pipeline}");
            assert_eq!(response.error(), sentence);
            assert_eq!(
                response.header("retry-after"),
                retry.then_some("1"),
                "{pipeline}"
            );
            assert_eq!(
                response.header("connection"),
                close.then_some("close"),
                "{pipeline}"
            );
            if close {
                assert!(client.receive().is_none());
            } else {
                assert_eq!(
                    client.exchange(&get("/v2")).status,
                    200,
                    "the connection is kept"
                );
            }
        }
    }
}

#[test]
fn an_output_that_json_cannot_carry_is_refused_with_the_way_out() {
    let server = Server::start();
    for (pipeline, says) in [
        ("nan", "element 1 of output \"x\" is NaN"),
        ("not_utf8", "element 1 of output \"x\" is not UTF-8"),
    ] {
        let input = input("FP32", "[1,1]", "[1]");
        let response = server
            .connect()
            .exchange(&infer(pipeline, &format!(r#"{{"inputs":[{input}]}}"#)));
        assert_eq!(response.status, 422);
        assert!(response.error().contains(says), "{}", response.error());
        assert!(
            response
                .error()
                .contains("ask for it with \"binary_data\": true")
        );
        ok(
            &server,
            &infer(
                pipeline,
                &format!(r#"{{"inputs":[{input}],"parameters":{{"binary_data_output":true}}}}"#),
            ),
        );
    }
}

#[test]
fn a_pipeline_that_breaks_its_signature_is_a_server_error() {
    let server = Server::start();
    let response = server
        .connect()
        .exchange(&infer("too_few_outputs", &request("FP32", "[1,1]", "[1]")));
    assert_eq!(response.status, 500);
    assert!(
        response
            .error()
            .contains("0 outputs where its signature names 1")
    );
}
