//! Graphs and functions inside of a model: what they take from around them, what is known of what they compute, and
//! files that mean harm.

use blockflow::graph::{Control, Graph, Op, ValueOrigin};

use crate::graph_file::*;

fn constant(name: &str, value: i64) -> NodePart {
    node("Constant", &[], &[name]).tensor("value", scalar("", value))
}

/// An If on whether the first element of `x` is above 0.
fn branches(then: GraphPart, otherwise: GraphPart) -> Vec<NodePart> {
    vec![
        node("ReduceMax", &["x"], &["most"]).int("keepdims", 0),
        node("Cast", &["most"], &["is_any"]).int("to", 9),
        node("If", &["is_any"], &["y"])
            .graph("then_branch", then)
            .graph("else_branch", otherwise),
    ]
}

fn loop_of(inputs: &[&str], outputs: &[&str], body: GraphPart) -> NodePart {
    node("Loop", inputs, outputs).graph("body", body)
}

#[test]
fn a_branch_takes_values_from_around_it_as_inputs_and_weights_as_its_own() {
    let then = body(&[], vec![node("Add", &["h", "w"], &["a"])], &["a"]);
    let otherwise = body(&[], vec![node("Neg", &["h"], &["b"])], &["b"]);
    let mut nodes = vec![node("Relu", &["x"], &["h"])];
    nodes.extend(branches(then, otherwise));
    let graph = model(17, "batch,4", nodes, vec![floats("w", &[4])])
        .read()
        .unwrap();
    let last = graph.nodes.last().unwrap();
    let named = |id: &Option<_>| graph.value(id.unwrap()).name.clone();
    let inputs: Vec<_> = last.inputs.iter().map(named).collect();
    assert_eq!(inputs, ["is_any", "h", "h"]);
    let Op::Control(Control::If { then, otherwise }) = &last.op else {
        panic!("{:?}", last.op);
    };
    assert_eq!((then.inputs.len(), otherwise.inputs.len()), (1, 1));
    let weight = then.value(then.find("w").unwrap());
    assert!(matches!(weight.origin, ValueOrigin::Initializer(_)));
    assert_eq!(signature(&graph).1, ["y: FP32[batch, 4]"]);
}

#[test]
fn a_cut_inside_of_what_a_branch_reads_hands_it_on() {
    let then = body(&[], vec![node("Add", &["x", "h"], &["a"])], &["a"]);
    let otherwise = body(&[], vec![node("Neg", &["x"], &["b"])], &["b"]);
    let mut nodes = vec![node("Relu", &["x"], &["h"])];
    nodes.extend(branches(then, otherwise));
    let graph = model(17, "batch,4", nodes, vec![]).read().unwrap();
    let segments = graph.chain(&["is_any".to_owned()]).unwrap();
    let inputs = |graph: &Graph| -> Vec<String> {
        let name = |id: &_| graph.value(*id).name.clone();
        graph.inputs.iter().map(name).collect()
    };
    assert_eq!(inputs(&segments[1]), ["is_any", "x"]);
    assert_eq!(signature(&segments[1]).1, ["y: FP32[batch, 4]"]);
}

#[test]
fn branches_of_other_sizes_and_ranks_leave_them_open() {
    let slice = |ends: &str| {
        let inputs = ["x", "zero", ends, "zero"];
        body(&[], vec![node("Slice", &inputs, &["part"])], &["part"])
    };
    let weights =
        || [("zero", 0), ("one", 1), ("two", 2)].map(|(name, value)| integers(name, &[value]));
    let y = |then, otherwise| y_of(17, "3,4", branches(then, otherwise), weights().to_vec());
    assert_eq!(y(slice("one"), slice("two")), "y: FP32[?, 4]");
    assert_eq!(y(slice("one"), slice("one")), "y: FP32[1, 4]");
    let flat = body(
        &[],
        vec![node("ReduceSum", &["x"], &["s"]).int("keepdims", 0)],
        &["s"],
    );
    let message = y(slice("one"), flat);
    assert!(
        message.contains("unknown number of dimensions"),
        "{message}"
    );
    let cast = body(&[], vec![node("Cast", &["x"], &["s"]).int("to", 7)], &["s"]);
    assert_eq!(
        y(slice("one"), cast),
        "node \"y_node\" (If): output 0 is FP32 or INT64, expected one of them"
    );
}

#[test]
fn a_branch_known_to_run_takes_the_place_of_the_node() {
    let then = body(&[], vec![node("Relu", &["x"], &["t"])], &["t"]);
    let otherwise = body(&[], vec![node("Neg", &["x"], &["t"])], &["t"]);
    for (value, expected) in [(4, "Relu"), (5, "Neg")] {
        let nodes = vec![
            node("Shape", &["x"], &["shape"]),
            constant("zero", 0),
            constant("four", value),
            node("Gather", &["shape", "zero"], &["size"]),
            node("Equal", &["size", "four"], &["is_four"]),
            node("Not", &["is_four"], &["is_other"]),
            node("Cast", &["is_other"], &["flag"]).int("to", 9),
            node("If", &["flag"], &["y"])
                .graph("then_branch", otherwise.clone())
                .graph("else_branch", then.clone()),
        ];
        let graph = model(17, "4", nodes, vec![]).read().unwrap();
        assert_eq!(
            format!("{:?}", graph.nodes[0].op),
            format!("Unary({expected})")
        );
        assert_eq!(graph.nodes.len(), 1);
        assert_eq!(signature(&graph).1, ["y: FP32[4]"]);
    }
}

#[test]
fn a_state_that_grows_in_a_loop_has_an_unknown_size() {
    let grow = vec![
        node("Identity", &["go"], &["go_on"]),
        node("Concat", &["state", "x"], &["next"]).int("axis", 0),
        node("Relu", &["x"], &["element"]),
    ];
    let grow = body(&["i", "go", "state"], grow, &["go_on", "next", "element"]);
    let nodes = |output: &'static str| {
        let names: [&str; 2] = if output == "state" {
            ["y", "s"]
        } else {
            ["s", "y"]
        };
        vec![
            constant("three", 3),
            loop_of(&["three", "", "x"], &names, grow.clone()),
        ]
    };
    assert_eq!(y_of(17, "batch,4", nodes("state"), vec![]), "y: FP32[?, 4]");
    assert_eq!(
        y_of(17, "batch,4", nodes("element"), vec![]),
        "y: FP32[?, batch, 4]"
    );
}

#[test]
fn a_function_is_replaced_by_its_nodes_with_names_of_their_own() {
    let nodes = vec![
        node("LeakyRelu", &["a"], &["h"]).of_function("alpha", 1, "slope"),
        node("Clip", &["h", "low"], &["b"]),
    ];
    let mut file = model(
        17,
        "batch,4",
        vec![
            call("Bend", &["x"], &["h"]).float("slope", 0.5),
            call("Bend", &["h"], &["y"]),
        ],
        vec![],
    );
    file.functions = vec![FunctionPart {
        attributes: vec!["slope".to_owned()],
        ..function("Bend", &["a", "low"], nodes, &["b"])
    }];
    let graph = file.read().unwrap();
    let names: Vec<_> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "h_node.h_node",
            "h_node.b_node",
            "y_node.h_node",
            "y_node.b_node"
        ]
    );
    let slope = |at: usize| format!("{:?}", graph.nodes[at].op);
    assert!(slope(0).contains("alpha: 0.5"), "{}", slope(0));
    assert!(slope(2).contains("alpha: 0.01"), "{}", slope(2));
    assert_eq!(signature(&graph).1, ["y: FP32[batch, 4]"]);
}

#[test]
fn functions_that_call_each_other_in_a_circle_are_refused() {
    let mut file = model(17, "4", vec![call("A", &["x"], &["y"])], vec![]);
    file.functions = vec![
        function("A", &["a"], vec![call("B", &["a"], &["b"])], &["b"]),
        function("B", &["a"], vec![call("A", &["a"], &["b"])], &["b"]),
    ];
    assert_eq!(
        file.y(),
        "function own.A calls itself: own.A → own.B → own.A"
    );
}

#[test]
fn functions_that_multiply_without_bound_are_refused() {
    let chain = |from: &str, to: &str| {
        let step = |at: usize| call(to, &[&format!("h{at}")], &[&format!("h{}", at + 1)]);
        let mut nodes = vec![node("Identity", &["a"], &["h0"])];
        nodes.extend((0..16).map(step));
        function(from, &["a"], nodes, &["h16"])
    };
    let mut file = model(17, "4", vec![call("f0", &["x"], &["y"])], vec![]);
    file.functions = (0..8)
        .map(|at| chain(&format!("f{at}"), &format!("f{}", at + 1)))
        .collect();
    file.functions.push(function(
        "f8",
        &["a"],
        vec![node("Relu", &["a"], &["b"])],
        &["b"],
    ));
    assert_eq!(
        file.y(),
        "the graphs and functions inside of nodes come to more than 65536 nodes"
    );
}

#[test]
fn functions_nested_too_deep_and_defined_twice_are_refused() {
    let mut file = model(17, "4", vec![call("f0", &["x"], &["y"])], vec![]);
    let step = |at: usize| {
        let next = call(&format!("f{}", at + 1), &["a"], &["b"]);
        function(&format!("f{at}"), &["a"], vec![next], &["b"])
    };
    file.functions = (0..40).map(step).collect();
    file.functions.push(function(
        "f40",
        &["a"],
        vec![node("Relu", &["a"], &["b"])],
        &["b"],
    ));
    assert_eq!(
        file.y(),
        "graphs and functions are nested 32 deep and deeper, supported is less"
    );
    file.functions = vec![file.functions[40].clone(), file.functions[40].clone()];
    assert_eq!(file.y(), "function own.f40 is defined twice");
}

#[test]
fn a_function_sees_nothing_of_what_is_around_its_call() {
    let mut file = model(17, "4", vec![call("Peek", &["x"], &["y"])], vec![]);
    let nodes = vec![node("Add", &["a", "x"], &["b"])];
    file.functions = vec![function("Peek", &["a"], nodes, &["b"])];
    assert_eq!(
        file.y(),
        "node \"y_node.b_node\" reads tensor \"x\", which nothing defines"
    );
}

#[test]
fn what_is_wrong_in_a_body_is_named_with_the_nodes_on_the_way() {
    let then = body(&[], vec![node("Relu", &["gone"], &["t"])], &["t"]);
    let otherwise = body(&[], vec![node("Neg", &["x"], &["t"])], &["t"]);
    assert_eq!(
        y_of(17, "4", branches(then, otherwise.clone()), vec![]),
        "node \"y_node\" (If): in then_branch: node \"t_node\" reads tensor \"gone\", which nothing defines"
    );
    let then = body(&["given"], vec![node("Relu", &["x"], &["t"])], &["t"]);
    assert_eq!(
        y_of(17, "4", branches(then, otherwise.clone()), vec![]),
        "node \"y_node\" (If): in then_branch: the graph has 1 inputs, expected 0"
    );
    let then = body(&[], vec![node("Weave", &["x"], &["t"])], &["t"]);
    assert_eq!(
        y_of(17, "4", branches(then, otherwise), vec![]),
        "unsupported operators: Weave (1 node, \"t_node\")"
    );
}

#[test]
fn a_node_waits_for_what_its_body_reads() {
    let then = body(&[], vec![node("Relu", &["late"], &["t"])], &["t"]);
    let otherwise = body(&[], vec![node("Neg", &["x"], &["t"])], &["t"]);
    let mut nodes = branches(then.clone(), otherwise.clone());
    nodes.push(node("Abs", &["x"], &["late"]));
    assert_eq!(y_of(17, "4", nodes, vec![]), "y: FP32[4]");
    let mut nodes = branches(then, otherwise);
    nodes.push(node("Abs", &["y"], &["late"]));
    assert!(y_of(17, "4", nodes, vec![]).starts_with("nodes depend on each other in a circle"));
}

#[test]
fn a_container_where_a_tensor_belongs_is_refused() {
    let nodes = vec![
        node("SequenceConstruct", &["x", "x"], &["s"]),
        node("Relu", &["s"], &["y"]),
    ];
    assert_eq!(
        y_of(17, "4", nodes, vec![]),
        "node \"y_node\" (Relu): input 0 is a sequence, expected a tensor"
    );
    let nodes = vec![constant("i", 0), node("SequenceAt", &["x", "i"], &["y"])];
    assert_eq!(
        y_of(17, "4", nodes, vec![]),
        "node \"y_node\" (SequenceAt): input 0 is a tensor, expected a sequence"
    );
    let nodes = vec![node("SequenceConstruct", &["x", "x"], &["y"])];
    assert!(y_of(17, "4", nodes, vec![]).contains("only tensors enter and leave a block"));
}

#[test]
fn sequences_know_of_their_tensors_what_all_have_in_common() {
    let nodes = vec![
        node("Concat", &["x", "x"], &["xx"]).int("axis", 0),
        node("SequenceConstruct", &["x", "xx"], &["s"]),
        node("ConcatFromSequence", &["s"], &["y"]).int("axis", 1),
    ];
    assert_eq!(y_of(17, "2,3", nodes, vec![]), "y: FP32[?, ?]");
    let nodes = vec![
        node("SequenceConstruct", &["x", "x"], &["s"]),
        node("ConcatFromSequence", &["s"], &["y"])
            .int("axis", 0)
            .int("new_axis", 1),
    ];
    assert_eq!(y_of(17, "2,3", nodes, vec![]), "y: FP32[?, 2, 3]");
}

#[test]
fn sizes_that_only_data_decides_stay_open() {
    let nodes = vec![
        node("NonZero", &["x"], &["places"]),
        node("Transpose", &["places"], &["rows"]).ints("perm", &[1, 0]),
        node("GatherND", &["x", "rows"], &["y"]),
    ];
    assert_eq!(y_of(17, "batch,3", nodes, vec![]), "y: FP32[?]");
    let nodes = vec![
        node("Cast", &["x"], &["kept"]).int("to", 9),
        node("Compress", &["w", "kept"], &["y"]).int("axis", 0),
    ];
    assert_eq!(
        y_of(17, "4", nodes, vec![floats("w", &[4, 2])]),
        "y: FP32[?, 2]"
    );
}
