//! Shapes of operators over images, and what is said of images that do not fit.

use crate::graph_file::*;

fn shape(opset: i64, x: &str, node: NodePart, weights: Vec<TensorPart>) -> String {
    y_of(opset, x, vec![node], weights)
}

/// An FP32 list.
fn factors(name: &str, values: &[f32]) -> TensorPart {
    TensorPart {
        floats: values.to_vec(),
        ..floats(name, &[i64::try_from(values.len()).unwrap()])
    }
}

#[test]
fn a_resize_keeps_the_names_of_sizes_that_stay() {
    let resize = |scales: &[f32]| {
        let node = node("Resize", &["x", "", "s"], &["y"]);
        shape(17, "n,3,h,10", node, vec![factors("s", scales)])
    };
    assert_eq!(resize(&[1.0, 1.0, 1.0, 2.5]), "y: FP32[n, 3, h, 25]");
    assert_eq!(resize(&[1.0, 1.0, 2.0, 0.7]), "y: FP32[n, 3, ?, 7]");
    let upsample = node("Upsample", &["x", "s"], &["y"]);
    assert_eq!(
        shape(
            9,
            "n,3,h,10",
            upsample,
            vec![factors("s", &[1.0, 1.0, 1.0, 3.0])]
        ),
        "y: FP32[n, 3, h, 30]"
    );
    let sized = |policy: &str| {
        let node = node("Resize", &["x", "", "", "z"], &["y"])
            .ints("axes", &[3, 2])
            .text("keep_aspect_ratio_policy", policy);
        shape(18, "n,3,20,10", node, vec![integers("z", &[15, 40])])
    };
    assert_eq!(sized("stretch"), "y: FP32[n, 3, 40, 15]");
    assert_eq!(sized("not_larger"), "y: FP32[n, 3, 30, 15]");
    assert_eq!(sized("not_smaller"), "y: FP32[n, 3, 40, 20]");
}

#[test]
fn a_resize_without_sense_is_refused() {
    let resize = |scales: &[f32]| {
        let node = node("Resize", &["x", "", "s"], &["y"]);
        shape(17, "n,3,4,4", node, vec![factors("s", scales)])
    };
    assert_eq!(
        resize(&[1.0, 1.0, 0.0, 2.0]),
        "node \"y_node\" (Resize): scales is [1.0, 1.0, 0.0, 2.0], expected positive factors"
    );
    assert_eq!(
        resize(&[2.0, 2.0]),
        "node \"y_node\" (Resize): scales is a list of 2, expected 4 numbers, one for each axis"
    );
    assert_eq!(
        shape(17, "n,3,4,4", node("Resize", &["x"], &["y"]), vec![]),
        "node \"y_node\" (Resize): input 2 is missing"
    );
    let blurred = node("Resize", &["x", "", "s"], &["y"]).int("antialias", 1);
    assert_eq!(
        shape(18, "n,3,4,4", blurred, vec![factors("s", &[1.0; 4])]),
        "node \"y_node\" (Resize): attribute antialias is 1, expected 0 in mode nearest"
    );
}

#[test]
fn a_transposed_convolution_grows_as_the_specification_says() {
    let grown = |x: &str, change: &dyn Fn(NodePart) -> NodePart| {
        let node = node("ConvTranspose", &["x", "w"], &["y"]).int("group", 2);
        shape(17, x, change(node), vec![floats("w", &[4, 3, 3, 3])])
    };
    let plain: &dyn Fn(NodePart) -> NodePart = &|node| node.ints("strides", &[2, 2]);
    assert_eq!(grown("n,4,5,w", plain), "y: FP32[n, 6, 11, ?]");
    assert_eq!(
        grown("n,4,5,5", &|node| plain(node)
            .ints("pads", &[1, 1, 1, 0])
            .ints("output_padding", &[1, 0])),
        "y: FP32[n, 6, 10, 10]"
    );
    assert_eq!(
        grown("n,4,5,5", &|node| plain(node)
            .text("auto_pad", "SAME_UPPER")),
        "y: FP32[n, 6, 10, 10]"
    );
    assert_eq!(
        grown("n,4,5,w", &|node| plain(node)
            .ints("output_shape", &[12, 13])),
        "y: FP32[n, 6, 12, 13]"
    );
    assert_eq!(
        grown("n,4,1,1", &|node| node.ints("pads", &[2, 2, 2, 2])),
        "node \"y_node\" (ConvTranspose): pads is [2, 2, 2, 2], expected less padding than the output would have \
         elements"
    );
    assert!(grown("n,5,5,5", plain).contains("do not match"));
}

#[test]
fn channels_become_places_and_back() {
    let deep = node("DepthToSpace", &["x"], &["y"]).int("blocksize", 2);
    assert_eq!(
        shape(17, "n,12,h,5", deep.clone(), vec![]),
        "y: FP32[n, 3, ?, 10]"
    );
    assert_eq!(
        shape(17, "n,6,h,5", deep, vec![]),
        "node \"y_node\" (DepthToSpace): input 0 has shape [n, 6, h, 5], expected a multiple of 4 in dimension 1"
    );
    let wide = node("SpaceToDepth", &["x"], &["y"]).int("blocksize", 2);
    assert_eq!(shape(17, "n,3,h,10", wide, vec![]), "y: FP32[n, 12, ?, 5]");
    let none = node("SpaceToDepth", &["x"], &["y"]).int("blocksize", 0);
    assert_eq!(
        shape(17, "n,3,h,10", none, vec![]),
        "node \"y_node\" (SpaceToDepth): attribute blocksize is 0, expected at least 1"
    );
}

#[test]
fn groups_have_to_divide_the_channels() {
    let groups = |count: i64| {
        let node = node("GroupNormalization", &["x", "s", "b"], &["y"]).int("num_groups", count);
        shape(
            21,
            "n,6,h",
            node,
            vec![floats("s", &[6]), floats("b", &[6])],
        )
    };
    assert_eq!(groups(3), "y: FP32[n, 6, h]");
    assert_eq!(
        groups(4),
        "node \"y_node\" (GroupNormalization): num_groups is 4, expected a divisor of the 6 channels"
    );
}
