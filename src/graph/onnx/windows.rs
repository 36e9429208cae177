//! Windows that ONNX has by name: the coefficients of `a₀ − a₁ cos x + a₂ cos 2x`.

pub(super) const BLACKMAN: [f64; 3] = [0.42, 0.5, 0.08];
pub(super) const HAMMING: [f64; 3] = [25.0 / 46.0, 21.0 / 46.0, 0.0];
pub(super) const HANN: [f64; 3] = [0.5, 0.5, 0.0];

pub(super) const WINDOWS: [(&str, [f64; 3]); 3] = [
    ("BlackmanWindow", BLACKMAN),
    ("HammingWindow", HAMMING),
    ("HannWindow", HANN),
];
