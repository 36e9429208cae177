//! Image files as inputs of models that take pixels: the same decode step that a pipeline would use, with the size
//! and the channels that the input declares.

use std::path::PathBuf;

use clap::Args;

use crate::types::{AlignedBytes, DType, Dim, ImageLayout, ImageSpec, Shape, Tensor, TensorSpec};

use super::error::CliError;
use super::{compose, tensors};

/// How samples become numbers. UINT8 inputs take 0 to 255 whatever the flags say.
#[derive(Debug, Args)]
pub(super) struct ImageFlags {
    /// Value of a full-scale sample of an image, before mean and deviation.
    #[arg(long, value_name = "VALUE", default_value_t = 1.0)]
    image_scale: f32,
    /// Subtracted from each channel after scaling: one number, or one per channel.
    #[arg(
        long,
        value_name = "VALUES",
        value_delimiter = ',',
        default_value = "0",
        allow_negative_numbers = true
    )]
    image_mean: Vec<f32>,
    /// Divides each channel after the mean: one number, or one per channel.
    #[arg(
        long,
        value_name = "VALUES",
        value_delimiter = ',',
        default_value = "1"
    )]
    image_std: Vec<f32>,
}

pub(super) fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// Returns the decode step that makes what `spec` wants, or why an image cannot be that.
pub(super) fn step_for(spec: &TensorSpec, flags: &ImageFlags) -> Result<ImageSpec, String> {
    let refuse = |cause: &str| {
        Err(format!(
            "an image cannot fill {}{}: {cause}",
            spec.dtype, spec.shape
        ))
    };
    if !matches!(spec.dtype, DType::F32 | DType::U8) {
        return refuse("the datatype must be FP32 or UINT8");
    }
    let dims = match spec.shape.0.as_slice() {
        [Dim::Fixed(1) | Dim::Symbol(_) | Dim::Any, rest @ ..] if rest.len() == 3 => rest,
        [Dim::Fixed(_), rest @ ..] if rest.len() == 3 => {
            return refuse("the file holds one image only");
        }
        dims if dims.len() == 3 => dims,
        _ => return refuse("the shape must be [N, C, H, W], [N, H, W, C] or one image of these"),
    };
    let is_channels = |dim: &Dim| matches!(dim, Dim::Fixed(1 | 3));
    let (layout, [channels, height, width]) = match dims {
        [first, height, width] if is_channels(first) => {
            (ImageLayout::ChannelsFirst, [first, height, width])
        }
        [height, width, last] if is_channels(last) => {
            (ImageLayout::ChannelsLast, [last, height, width])
        }
        _ => return refuse("no dimension tells 1 or 3 channels"),
    };
    let (Some(channels), Some(height), Some(width)) =
        (channels.fixed(), height.fixed(), width.fixed())
    else {
        return refuse("height and width must be fixed; pass an .npy file");
    };
    let per_channel = |flag: &str, values: &[f32]| match values {
        [one] => Ok(vec![*one; channels]),
        values if values.len() == channels => Ok(values.to_vec()),
        values => Err(format!(
            "{flag} has {} values, expected 1 or {channels}",
            values.len()
        )),
    };
    let (scale, mean, deviation) = if spec.dtype == DType::U8 {
        (255.0, vec![0.0; channels], vec![1.0; channels])
    } else {
        let mean = per_channel("--image-mean", &flags.image_mean)?;
        (
            flags.image_scale,
            mean,
            per_channel("--image-std", &flags.image_std)?,
        )
    };
    Ok(ImageSpec {
        width,
        height,
        channels,
        layout,
        scale,
        mean,
        deviation,
    })
}

/// Decodes one image into the dtype and rank of `spec`.
pub(super) fn decode(spec: &TensorSpec, step: ImageSpec, image: &[u8]) -> Result<Tensor, CliError> {
    let prepared = compose::prepare_decode(&step)?;
    let fault = |source| CliError::Prepare {
        path: PathBuf::from("decode step"),
        source,
    };
    let [taken] = prepared.signature().inputs.as_slice() else {
        return Err(CliError::Usage(
            "the decode step takes one input".to_owned(),
        ));
    };
    let bytes = tensors::one_byte_string(taken, image).map_err(CliError::Usage)?;
    let outputs = prepared
        .session()
        .map_err(fault)?
        .run(&[bytes])
        .map_err(CliError::Run)?;
    match outputs.first() {
        Some(pixels) => conform(spec, pixels),
        None => Err(CliError::Usage("the decode step gave nothing".to_owned())),
    }
}

/// Rounds to UINT8 and drops the leading 1 where the input wants that. `pixels` are FP32.
fn conform(spec: &TensorSpec, pixels: &Tensor) -> Result<Tensor, CliError> {
    let mut shape: Shape = pixels.shape().to_vec();
    if spec.shape.rank() == 3 && shape.len() == 4 {
        shape.remove(0);
    }
    if spec.dtype == DType::F32 {
        return Ok(Tensor::new(
            DType::F32,
            shape,
            std::sync::Arc::new(AlignedBytes::copy_of(pixels.bytes())),
        )?);
    }
    let samples: Vec<u8> = pixels
        .bytes()
        .chunks_exact(size_of::<f32>())
        .map(|sample| {
            bytemuck::pod_read_unaligned::<f32>(sample)
                .round()
                .clamp(0.0, 255.0) as u8
        })
        .collect();
    Ok(Tensor::copy_of(DType::U8, shape, &samples)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ShapeSpec;

    fn flags() -> ImageFlags {
        ImageFlags {
            image_scale: 1.0,
            image_mean: vec![0.0],
            image_std: vec![1.0],
        }
    }

    fn input(dtype: DType, dims: &[Dim]) -> TensorSpec {
        TensorSpec::new("image", dtype, ShapeSpec(dims.to_vec()))
    }

    #[test]
    fn the_declared_shape_decides_size_and_layout() {
        let batch = Dim::symbol("n");
        let first = input(
            DType::F32,
            &[batch.clone(), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(9)],
        );
        let step = step_for(&first, &flags()).expect("an image fits");
        assert_eq!((step.channels, step.height, step.width), (3, 8, 9));
        assert_eq!(step.layout, ImageLayout::ChannelsFirst);
        assert_eq!(step.mean, [0.0; 3]);
        let last = input(
            DType::U8,
            &[batch, Dim::Fixed(8), Dim::Fixed(9), Dim::Fixed(1)],
        );
        let step = step_for(&last, &flags()).expect("an image fits");
        assert_eq!((step.channels, step.height, step.width), (1, 8, 9));
        assert_eq!(step.layout, ImageLayout::ChannelsLast);
        assert_eq!(step.scale, 255.0);
        let single = input(DType::F32, &[Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)]);
        assert!(step_for(&single, &flags()).is_ok());
    }

    #[test]
    fn inputs_that_are_no_images_are_refused_with_the_reason() {
        let fixed = |sizes: &[usize]| sizes.iter().copied().map(Dim::Fixed).collect::<Vec<_>>();
        let open = [Dim::Any, Dim::Fixed(3), Dim::Any, Dim::Fixed(8)];
        for (spec, reason) in [
            (input(DType::I64, &fixed(&[1, 3, 8, 8])), "datatype"),
            (input(DType::F32, &fixed(&[2, 3, 8, 8])), "one image only"),
            (input(DType::F32, &fixed(&[1, 5, 8, 8])), "channels"),
            (input(DType::F32, &fixed(&[1, 10])), "shape"),
            (input(DType::F32, &open), "fixed"),
        ] {
            let cause = step_for(&spec, &flags()).expect_err("refused");
            assert!(cause.contains(reason), "{cause}");
        }
        let rgb = input(DType::F32, &fixed(&[1, 3, 8, 8]));
        let two = ImageFlags {
            image_mean: vec![0.1, 0.2],
            ..flags()
        };
        assert!(
            step_for(&rgb, &two)
                .expect_err("refused")
                .contains("--image-mean")
        );
    }

    #[test]
    fn pixels_are_rounded_and_clamped_for_uint8_inputs() {
        let floats: Vec<u8> = [0.4_f32, 1.5, 254.6, 300.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let pixels = Tensor::copy_of(DType::F32, vec![1, 1, 2, 2], &floats).expect("four pixels");
        let spec = TensorSpec::new("image", DType::U8, ShapeSpec::fixed(&[1, 2, 2]));
        let tensor = conform(&spec, &pixels).expect("converts");
        assert_eq!(tensor.shape(), [1, 2, 2]);
        assert_eq!(tensor.bytes(), [0, 2, 255, 255]);
    }
}
