//! Parameters of normalisations.

/// Normalisations. Scale and bias are one per channel unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Normalization {
    /// Inputs: data, scale, bias, mean, variance.
    Batch { epsilon: f32 },
    /// Inputs: data, scale, bias, mean, variance. Outputs: result, mean and variance with those of the data mixed in
    /// (`momentum` of the old), mean and variance of the data.
    BatchTraining { epsilon: f32, momentum: f32 },
    /// Inputs: data, scale, bias?. Over the dimensions from `axis`; scale and bias broadcast to them. Outputs: result,
    /// mean, inverse deviation, both FP32 or, if `brief_statistics`, BF16.
    Layer {
        axis: i64,
        epsilon: f32,
        brief_statistics: bool,
    },
    /// Inputs: data, scale. By the root of the mean square over the dimensions from `axis`.
    RootMeanSquare { axis: i64, epsilon: f32 },
    /// Inputs: data, scale, bias, also one per group. Over the channels of each group.
    Group { groups: usize, epsilon: f32 },
    /// Inputs: data, scale, bias. Over the spatial dimensions of each channel.
    Instance { epsilon: f32 },
    /// Input: data. By the mean square of `size` channels around each: x / (bias + alpha · mean)^beta.
    LocalResponse {
        size: usize,
        alpha: f32,
        beta: f32,
        bias: f32,
    },
}
