//! Hazard: malformed requests. Each gets a refusal that says what is wrong, and the next request works.

use crate::serve_support::{Response, Server, get, infer, infer_binary, input, post_with, request};

/// What was sent, the status it must get, and a part of the sentence (empty where the bytes were no HTTP).
struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    status: u16,
    says: &'static str,
}

fn case(what: &'static str, bytes: Vec<u8>, status: u16, says: &'static str) -> Case {
    Case {
        what,
        bytes,
        status,
        says,
    }
}

fn run(cases: Vec<Case>) {
    let server = Server::start();
    let good = infer("echo_FP32", &request("FP32", "[1, 2]", "[1, 2.5]"));
    let serves = |response: &Response, what| {
        assert_eq!(response.status, 200, "after {what}: {}", response.text());
    };
    for Case {
        what,
        bytes,
        status,
        says,
    } in cases
    {
        let mut client = server.connect();
        let response = client.exchange(&bytes);
        assert_eq!(response.status, status, "{what}: {}", response.text());
        if says.is_empty() {
            assert!(response.body.is_empty(), "{what}: {}", response.text());
        } else {
            let error = response.error();
            assert!(error.contains(says), "{what}: {error}");
            assert!(
                !error.contains('\n') && error.len() < 1000,
                "{what}: {error}"
            );
        }
        if response.header("connection") != Some("close") {
            // A connection that is kept must be in step.
            if let Some(response) = {
                client.send(&good);
                client.receive()
            } {
                serves(&response, what);
            }
        }
        serves(&server.connect().exchange(&good), what);
    }
}

/// A request for `echo_<dtype>` with the given shape and data.
fn data(datatype: &str, shape: &str, data: &str) -> Vec<u8> {
    infer(&format!("echo_{datatype}"), &request(datatype, shape, data))
}

fn fp32(shape: &str, data: &str) -> Vec<u8> {
    infer("echo_FP32", &request("FP32", shape, data))
}

/// One FP32 input whose object ends with `rest`.
fn fp32_input(rest: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,2]{rest}}}]}}"#)
}

fn with_outputs(outputs: &str) -> Vec<u8> {
    let input = input("FP32", "[1,2]", "[1,2]");
    infer(
        "echo_FP32",
        &format!(r#"{{"inputs":[{input}],"outputs":{outputs}}}"#),
    )
}

fn with_parameters(parameters: &str) -> Vec<u8> {
    let input = input("FP32", "[1,2]", "[1,2]");
    infer(
        "echo_FP32",
        &format!(r#"{{"inputs":[{input}],"parameters":{parameters}}}"#),
    )
}

const SIZE_8: &str = r#","parameters":{"binary_data_size":8}"#;

#[test]
#[rustfmt::skip] // a table reads as a table
fn broken_json_is_refused() {
    let whole = |json: &str| infer("echo_FP32", json);
    let deep = "[".repeat(100_000);
    run(vec![
        case("no body", whole(""), 400, "the body is empty"),
        case("blank body", whole("   "), 400, "EOF"),
        case("no JSON", whole("hello"), 400, "expected value at line 1 column 1"),
        case("an array", whole("[]"), 400, "expected a JSON object"),
        case("an array like the fields", whole(r#"["1",null,[],[]]"#), 400, "expected a JSON object"),
        case("a number", whole("7"), 400, "expected a JSON object"),
        case("null", whole("null"), 400, "expected a JSON object"),
        case("an empty object", whole("{}"), 400, "missing field `inputs`"),
        case("cut short", whole(r#"{"inputs":[{"name":"x""#), 400, "EOF"),
        case("trailing text", whole(&(request("FP32", "[1,1]", "[1]") + "x")), 400, "trailing characters"),
        case("trailing comma", fp32("[1,2]", "[1,2,]"), 400, "expected value"),
        case("NaN", fp32("[1,2]", "[1,NaN]"), 400, "JSON has no NaN"),
        case("Infinity", fp32("[1,2]", "[Infinity,1]"), 400, "JSON has no NaN and no infinity"),
        case("minus Infinity", fp32("[1,2]", "[1,-Infinity]"), 400, "JSON has no NaN and no infinity"),
        case("single quotes", whole("{'inputs':[]}"), 400, "key must be a string"),
        case("a comment", whole("/* */{}"), 400, "expected value"),
        case("no UTF-8", post_with("/v2/models/echo_FP32/infer", &[], b"{\"id\":\"\xff\"}"), 400, "unicode"),
        case("a byte-order mark", whole("\u{feff}{}"), 400, "expected value"),
        case("deep nesting for a body", whole(&deep), 400, "expected a JSON object"),
        case("deep nesting for inputs", whole(&format!(r#"{{"inputs":{deep}"#)), 400, "expected a JSON object"),
        case("deep nesting for data", fp32("[1,2]", &deep), 400, "expected value"),
        case("deep and closed nesting for data", fp32("[1,2]", &format!("{}{}", "[".repeat(1000), "]".repeat(1000))), 400, "nested unlike shape [1, 2]"),
        case("deep nesting for a key nobody knows", whole(&format!(r#"{{"x":{deep}"#)), 400, "EOF"),
        case("twice inputs", whole(r#"{"inputs":[],"inputs":[]}"#), 400, "duplicate field `inputs`"),
        case("inputs as an object", whole(r#"{"inputs":{}}"#), 400, "invalid type: map"),
        case("an input as an array", whole(r#"{"inputs":[["x","FP32",[1,2],null,[1,2]]]}"#), 400, "a JSON object"),
        case("an id that is a number", whole(r#"{"id":5,"inputs":[]}"#), 400, "invalid type: integer `5`"),
        case("outputs as a text", with_outputs(r#""y""#), 400, "invalid type: string"),
    ]);
}

#[test]
#[rustfmt::skip] // a table reads as a table
fn inputs_that_do_not_fit_the_pipeline_are_refused() {
    let named = |name: &str| {
        format!(
            r#"{{"inputs":[{}]}}"#,
            input("FP32", "[1,2]", "[1,2]").replace("\"x\"", name)
        )
    };
    let x = input("FP32", "[1,2]", "[1,2]");
    let pair = |a: &str, b: &str| {
        infer(
            "pair",
            &format!(
                r#"{{"inputs":[{{"name":"a","datatype":"FP32","shape":{a},"data":[1,2,3]}},{{"name":"b","datatype":"INT64","shape":{b},"data":[1,2]}}]}}"#
            ),
        )
    };
    run(vec![
        case("no inputs", infer("echo_FP32", r#"{"inputs":[]}"#), 400, "input \"x\" is missing"),
        case("another name", infer("echo_FP32", &named("\"y\"")), 400, "no input \"y\", expected \"x\""),
        case("an empty name", infer("echo_FP32", &named("\"\"")), 400, "no input \"\""),
        case("a long name", infer("echo_FP32", &named(&format!("\"{}\"", "n".repeat(9999)))), 400, "nnn…"),
        case("a name that is null", infer("echo_FP32", &named("null")), 400, "invalid type: null"),
        case("the same input twice", infer("echo_FP32", &format!(r#"{{"inputs":[{x},{x}]}}"#)), 400, "given twice"),
        case("one input of two", infer("pair", r#"{"inputs":[{"name":"b","datatype":"INT64","shape":[1],"data":[1]}]}"#), 400, "\"a\" is missing"),
        case("a size that two inputs disagree on", pair("[1,3]", "[2]"), 400, "another input set rows to 1"),
        case("no datatype", infer("echo_FP32", r#"{"inputs":[{"name":"x","shape":[1,2],"data":[1,2]}]}"#), 400, "missing field `datatype`"),
        case("no shape", infer("echo_FP32", r#"{"inputs":[{"name":"x","datatype":"FP32","data":[1,2]}]}"#), 400, "missing field `shape`"),
        case("a twice named shape", infer("echo_FP32", &fp32_input(r#","shape":[1,2],"data":[1,2]"#)), 400, "duplicate field `shape`"),
        case("no data", infer("echo_FP32", &fp32_input("")), 400, "neither \"data\" nor"),
        case("data null", infer("echo_FP32", &fp32_input(r#","data":null"#)), 400, "neither \"data\" nor"),
        case("another datatype", infer("echo_FP32", &request("INT32", "[1,2]", "[1,2]")), 400, "datatype INT32, expected FP32"),
        case("a datatype nobody has", infer("echo_FP32", &request("FP8", "[1,2]", "[1,2]")), 400, "unknown datatype \"FP8\", expected FP32"),
        case("a datatype in lower case", infer("echo_FP32", &request("fp32", "[1,2]", "[1,2]")), 400, "unknown datatype \"fp32\""),
        case("BF16 in JSON", infer("echo_BF16", &format!(r#"{{"inputs":[{}],"parameters":{{"binary_data_output":true}}}}"#, input("BF16", "[1,2]", "[1,2]") )), 400, "BF16 has no JSON form, send it as binary"),
    ]);
}

#[test]
#[rustfmt::skip] // a table reads as a table
fn absurd_shapes_are_refused() {
    let ones = vec!["1"; 10_000].join(",");
    let too_many = vec!["1"; 33].join(",");
    run(vec![
        case("a negative size", fp32("[-1,2]", "[1,2]"), 400, "has the size -1"),
        case("the smallest size", fp32("[-9223372036854775808,2]", "[1,2]"), 400, "has the size -9223372036854775808"),
        case("a size beyond 64 bits", fp32("[18446744073709551616,2]", "[1,2]"), 400, "shape of input \"x\""),
        case("sizes that overflow", fp32("[4611686018427387904,4]", "[1,2]"), 400, "multiply to more"),
        case("sizes that overflow before a zero", fp32("[9223372036854775807,9223372036854775807]", "[]"), 400, "multiply to more"),
        case("more memory than there is", fp32("[1000000000,1000000]", "[1,2]"), 400, "of the 1000000000000000 elements"),
        case("a size with a fraction", fp32("[1.0,2]", "[1,2]"), 400, "floating point `1.0`"),
        case("a size with an exponent", fp32("[1e2,2]", "[1,2]"), 400, "shape of input \"x\""),
        case("a size as text", fp32("[\"1\",2]", "[1,2]"), 400, "invalid type: string"),
        case("a nested shape", fp32("[[1,2]]", "[1,2]"), 400, "invalid type: sequence"),
        case("a shape that is a number", fp32("2", "[1,2]"), 400, "expected an array of whole numbers"),
        case("a shape that is null", fp32("null", "[1,2]"), 400, "expected an array of whole numbers"),
        case("too few sizes", fp32("[2]", "[1,2]"), 400, "shape [2], expected [rows, ?]"),
        case("too many sizes", fp32("[1,1,2]", "[1,2]"), 400, "shape [1, 1, 2], expected [rows, ?]"),
        case("no sizes", fp32("[]", "[1]"), 400, "shape [], expected [rows, ?]"),
        case("33 sizes", fp32(&format!("[{too_many}]"), "[1]"), 400, "names 33 sizes, at most 32"),
        case("ten thousand sizes", fp32(&format!("[{ones}]"), "[1]"), 400, "names 10000 sizes"),
    ]);
}

#[test]
#[rustfmt::skip] // a table reads as a table
fn data_that_is_not_the_tensor_is_refused() {
    let million = format!("[{}]", vec!["1"; 100_000].join(","));
    run(vec![
        case("too few elements", fp32("[1,3]", "[1,2]"), 400, "holds 2 of the 3 elements"),
        case("too many elements", fp32("[1,2]", "[1,2,3]"), 400, "more than the 2 elements"),
        case("far too many elements", fp32("[1,2]", &million), 400, "more than the 2 elements"),
        case("no elements", fp32("[1,2]", "[]"), 400, "holds 0 of the 2 elements"),
        case("an element for a shape of none", fp32("[0,2]", "[1]"), 400, "more than the 0 elements"),
        case("a bare number", fp32("[1,1]", "1"), 400, "no array but 1"),
        case("an object", fp32("[1,1]", "{\"a\":1}"), 400, "no array but {"),
        case("a text", fp32("[1,2]", "\"1,2\""), 400, "no array but \"1,2\""),
        case("nested the other way round", fp32("[3,2]", "[[1,2,3],[4,5,6]]"), 400, "nested unlike shape [3, 2]"),
        case("ragged", fp32("[2,2]", "[[1,2,3],[4]]"), 400, "nested unlike shape"),
        case("one row too few", fp32("[2,2]", "[[1,2]]"), 400, "nested unlike shape"),
        case("too deep", fp32("[1,2]", "[[[1,2]]]"), 400, "nested unlike shape"),
        case("flat, then nested", fp32("[2,2]", "[1,2,[3,4]]"), 400, "nested unlike shape"),
        case("nested, then flat", fp32("[2,2]", "[[1,2],3,4]"), 400, "nested unlike shape"),
        case("an object among numbers", fp32("[1,2]", "[1,{\"a\":[1]}]"), 400, "element 1 is an object"),
        case("null among numbers", fp32("[1,2]", "[1,null]"), 400, "element 1 is null"),
        case("text among numbers", fp32("[1,2]", "[1,\"2\"]"), 400, "element 1 is \"2\""),
        case("true among numbers", fp32("[1,2]", "[true,1]"), 400, "element 0 is true"),
        case("1e400 as FP64", data("FP64", "[1,1]", "[1e400]"), 400, "1e400, expected a number that FP64 can hold"),
        case("1e39 as FP32", fp32("[1,1]", "[1e39]"), 400, "that FP32 can hold"),
        case("65520 as FP16", data("FP16", "[1,1]", "[65520]"), 400, "that FP16 can hold"),
        case("300 as UINT8", data("UINT8", "[1,1]", "[300]"), 400, "300, expected a whole number that UINT8 can hold"),
        case("-1 as UINT8", data("UINT8", "[1,1]", "[-1]"), 400, "that UINT8 can hold"),
        case("128 as INT8", data("INT8", "[1,1]", "[128]"), 400, "that INT8 can hold"),
        case("-32769 as INT16", data("INT16", "[1,1]", "[-32769]"), 400, "that INT16 can hold"),
        case("1.5 as INT32", data("INT32", "[1,2]", "[1,1.5]"), 400, "element 1 is 1.5, expected a whole number"),
        case("1e2 as INT32", data("INT32", "[1,1]", "[1e2]"), 400, "expected a whole number"),
        case("2147483648 as INT32", data("INT32", "[1,1]", "[2147483648]"), 400, "that INT32 can hold"),
        case("2^63 as INT64", data("INT64", "[1,1]", "[9223372036854775808]"), 400, "that INT64 can hold"),
        case("a number of 10000 digits", data("INT64", "[1,1]", &format!("[{}]", "9".repeat(10_000))), 400, "999…"),
        case("1 as BOOL", data("BOOL", "[1,1]", "[1]"), 400, "expected true or false"),
        case("a number as BYTES", data("BYTES", "[1,1]", "[1]"), 400, "expected a string"),
        case("half a surrogate pair as BYTES", data("BYTES", "[1,1]", r#"["\ud800"]"#), 400, "whole characters"),
        case("two scalars", infer("scalar", &request("INT32", "[]", "[1,2]")), 400, "more than the 1 elements"),
        case("a scalar nested", infer("scalar", &request("INT32", "[]", "[[1]]")), 400, "nested unlike shape []"),
    ]);
}

#[test]
#[rustfmt::skip] // a table reads as a table
fn binary_parts_that_do_not_add_up_are_refused() {
    let json = &fp32_input(SIZE_8);
    let claims = |claim: &str| {
        infer_binary(
            "echo_FP32",
            &fp32_input(&format!(r#","parameters":{{"binary_data_size":{claim}}}"#)),
            &[0; 8],
        )
    };
    let header = |value: &str, body: &str| {
        post_with(
            "/v2/models/echo_FP32/infer",
            &[("Inference-Header-Content-Length", value)],
            body.as_bytes(),
        )
    };
    let typed = |datatype: &str, shape: &str, bytes: &[u8]| {
        let size = bytes.len();
        let json = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"parameters":{{"binary_data_size":{size}}}}}]}}"#
        );
        infer_binary(&format!("echo_{datatype}"), &json, bytes)
    };
    run(vec![
        case("no JSON length", infer("echo_FP32", json), 400, "Inference-Header-Content-Length is missing"),
        case("cut short", infer_binary("echo_FP32", json, &[0; 7]), 400, "announces 8 binary bytes, but only 7"),
        case("no bytes at all", infer_binary("echo_FP32", json, &[]), 400, "but only 0 are left"),
        case("bytes left over", infer_binary("echo_FP32", json, &[0; 9]), 400, "1 bytes after the last binary input"),
        case("bytes nobody announced", infer_binary("echo_FP32", &request("FP32", "[1,2]", "[1,2]"), &[0]), 400, "1 bytes after"),
        case("fewer than the shape needs", claims("4"), 400, "needs 8 bytes, got 4"),
        case("a negative claim", claims("-8"), 400, "invalid value: integer `-8`"),
        case("a claim with a fraction", claims("8.0"), 400, "floating point `8.0`"),
        case("a claim as text", claims("\"8\""), 400, "parameters of input \"x\": invalid type: string"),
        case("a claim of everything", claims("18446744073709551615"), 400, "announces 18446744073709551615"),
        case("two claims", infer_binary("echo_FP32", &fp32_input(r#","parameters":{"binary_data_size":8,"binary_data_size":8}"#), &[0; 8]), 400, "duplicate field"),
        case("data and a claim", infer_binary("echo_FP32", &fp32_input(r#","data":[1,2],"parameters":{"binary_data_size":8}"#), &[0; 8]), 400, "has both"),
        case("a JSON length beyond the body", header("9999", json), 400, "is 9999, but the body has"),
        case("a JSON length of nothing", header("0", json), 400, "the body is empty"),
        case("a JSON length amid the JSON", header("10", json), 400, "EOF"),
        case("a JSON length in words", header("ten", json), 400, "is \"ten\", expected a number"),
        case("a negative JSON length", header("-1", json), 400, "expected a number"),
        case("a signed JSON length", header("+1", json), 400, "expected a number"),
        case("an empty JSON length", header("", json), 400, "is \"\", expected a number"),
        case("a JSON length beyond 64 bits", header("99999999999999999999", json), 400, "expected a number"),
        case("BOOL bytes that are no bool", typed("BOOL", "[1,3]", &[0, 1, 2]), 400, "element 2 of a BOOL tensor is the byte 2"),
        case("BYTES with a length beyond the end", typed("BYTES", "[1,1]", &[5, 0, 0, 0, 1]), 400, "holds 0 whole ones in 5 bytes"),
        case("BYTES with half a length", typed("BYTES", "[1,1]", &[1, 0]), 400, "holds 0 whole ones"),
        case("BYTES with an element too many", typed("BYTES", "[1,1]", &[0; 8]), 400, "needs 1 elements"),
    ]);
}

#[test]
#[rustfmt::skip] // a table reads as a table
fn wrong_parameters_and_outputs_are_refused() {
    let shared = r#","parameters":{"shared_memory_region":"r","shared_memory_byte_size":8}"#;
    let sized = |output: &str| format!(r#"[{{"name":"x","parameters":{output}}}]"#);
    run(vec![
        case("parameters as an array", with_parameters("[5]"), 400, "parameters of the request"),
        case("a timeout as text", with_parameters(r#"{"timeout":"5"}"#), 400, "invalid type: string"),
        case("a negative timeout", with_parameters(r#"{"timeout":-5}"#), 400, "invalid value: integer `-5`"),
        case("a timeout with a fraction", with_parameters(r#"{"timeout":0.5}"#), 400, "floating point `0.5`"),
        case("a sequence", with_parameters(r#"{"sequence_id":7,"sequence_start":true}"#), 400, "sequence of the request is not supported"),
        case("a flag that is a number", with_parameters(r#"{"binary_data_output":1}"#), 400, "parameters of the request"),
        case("a shared-memory input", infer("echo_FP32", &fp32_input(shared)), 400, "shared_memory_region of input \"x\" is not supported"),
        case("an unknown output", with_outputs(r#"[{"name":"y"}]"#), 400, "no output \"y\", expected \"x\""),
        case("the same output twice", with_outputs(r#"[{"name":"x"},{"name":"x"}]"#), 400, "asked for twice"),
        case("an output without a name", with_outputs("[{}]"), 400, "missing field `name`"),
        case("an output that is a text", with_outputs(r#"["x"]"#), 400, "expected a JSON object"),
        case("a classification", with_outputs(&sized(r#"{"classification":3}"#)), 400, "classification of output \"x\" is not supported"),
        case("a shared-memory output", with_outputs(&sized(r#"{"shared_memory_region":"r"}"#)), 400, "not supported"),
        case("binary_data as a text", with_outputs(&sized(r#"{"binary_data":"yes"}"#)), 400, "parameters of output \"x\""),
        case("BF16 as JSON", infer_binary("echo_BF16", r#"{"inputs":[{"name":"x","datatype":"BF16","shape":[1,1],"parameters":{"binary_data_size":2}}]}"#, &[0, 0]), 400, "output \"x\" is BF16"),
    ]);
}

#[test]
#[rustfmt::skip] // a table reads as a table
fn wrong_http_is_refused() {
    let good = request("FP32", "[1,2]", "[1,2]");
    let encoded = |encoding: &str| {
        post_with(
            "/v2/models/echo_FP32/infer",
            &[("Content-Encoding", encoding)],
            good.as_bytes(),
        )
    };
    let raw = |head: &str| format!("{head}\r\n\r\n").into_bytes();
    let infer_head = "POST /v2/models/echo_FP32/infer HTTP/1.1\r\nHost: test\r\n";
    let huge_header = format!("GET /v2 HTTP/1.1\r\nX: {}", "y".repeat(1 << 20));
    let many_headers = format!("GET /v2 HTTP/1.1\r\n{}X: y", "X: y\r\n".repeat(500));
    run(vec![
        case("gzip", encoded("gzip"), 415, "content-encoding \"gzip\" is not supported"),
        case("several encodings", encoded("identity, br"), 415, "not supported"),
        case("an unknown path", get("/v3"), 404, "nothing is served at \"/v3\""),
        case("a path below infer", get("/v2/models/echo_FP32/infer/x"), 404, "nothing is served"),
        case("a long path", get(&format!("/{}", "p".repeat(5000))), 404, "ppp…"),
        case("a path that is no UTF-8", get("/v2/models/%FF"), 404, "no pipeline"),
        case("an unknown pipeline", infer("nobody", &good), 404, "no pipeline \"nobody\", only \"pair\""),
        case("an empty pipeline", get("/v2/models//ready"), 404, "nothing is served"),
        case("an unknown version", get("/v2/models/pair/versions/2"), 404, "no version \"2\", the only one is \"1\""),
        case("GET for infer", get("/v2/models/pair/infer"), 405, "does not take GET, use POST"),
        case("POST for metadata", post_with("/v2/models/pair", &[], b"{}"), 405, "does not take POST, use GET"),
        case("DELETE", raw("DELETE /v2 HTTP/1.1\r\nHost: test"), 405, "does not take DELETE"),
        case("an invented method", raw("FROB /v2 HTTP/1.1\r\nHost: test"), 405, "does not take FROB"),
        case("no HTTP", raw("hello"), 400, ""),
        case("TLS", vec![ 0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, b'\r', b'\n', b'\r', b'\n', ], 400, ""),
        case("HTTP of the future", raw("GET /v2 HTTP/9.9"), 400, ""),
        case("a content length in words", raw(&format!("{infer_head}Content-Length: ten")), 400, ""),
        case("a negative content length", raw(&format!("{infer_head}Content-Length: -1")), 400, ""),
        case("two content lengths", raw(&format!("{infer_head}Content-Length: 1\r\nContent-Length: 2" )), 400, ""),
        case("a length and chunks", raw(&format!("{infer_head}Content-Length: 1\r\nTransfer-Encoding: chunked" )), 400, ""),
        case("a chunk of no size", format!("{infer_head}Transfer-Encoding: chunked\r\n\r\nzz\r\n").into_bytes(), 400, "the body"),
        case("a length beyond 64 bits", raw(&format!("{infer_head}Content-Length: 99999999999999999999")), 400, ""),
        case("a length of nearly 64 bits", raw(&format!("{infer_head}Content-Length: 18446744073709551615")), 413, "larger than"),
        case("a huge header", raw(&huge_header), 431, ""),
        case("too many headers", raw(&many_headers), 431, ""),
        case("an index that is no object", post_with("/v2/repository/index", &[], b"[true]"), 400, "a JSON object"),
    ]);
}

#[test]
fn a_megabyte_over_the_limit_is_refused_after_it_was_sent() {
    let body = vec![b' '; crate::serve_support::BODY_BYTES_MAX + 1];
    run(vec![case(
        "too large",
        post_with("/v2/models/echo_FP32/infer", &[], &body),
        413,
        "larger than the 1048576",
    )]);
}
