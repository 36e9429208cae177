//! The step that turns the bytes of a PNG or JPEG file into pixels.

use std::sync::Arc;

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat};

use crate::engine::image_file::{PIXELS_MAX, decode};
use crate::engine::{EngineError, Prepared, Session};
use crate::types::{
    DType, HostMemory, ImageLayout, ImageSpec, Rooms, ShapeSpec, Signature, Tensor, TensorSpec,
    room_or_heap,
};

/// Formats that are decoded, and what is said of a file in another one.
const FORMATS: (&[ImageFormat], &str) = (
    &[ImageFormat::Png, ImageFormat::Jpeg],
    "neither PNG nor JPEG",
);
/// Name of the input, a file's bytes.
const INPUT: &str = "image";
/// Name of the output.
const OUTPUT: &str = "pixels";

/// Returns the signature: `image`, BYTES `[1]` → `pixels`, FP32 `[1, channels, height, width]` or
/// `[1, height, width, channels]`.
pub fn signature(spec: &ImageSpec) -> Signature {
    let shape = match spec.layout {
        ImageLayout::ChannelsFirst => [1, spec.channels, spec.height, spec.width],
        ImageLayout::ChannelsLast => [1, spec.height, spec.width, spec.channels],
    };
    Signature {
        inputs: vec![TensorSpec::new(INPUT, DType::Bytes, ShapeSpec::fixed(&[1]))],
        outputs: vec![TensorSpec::new(
            OUTPUT,
            DType::F32,
            ShapeSpec::fixed(&shape),
        )],
    }
}

/// The decoding step made ready.
#[derive(Debug)]
pub struct DecodeImage {
    step: Arc<Step>,
    signature: Signature,
}

#[derive(Debug)]
struct Step {
    spec: ImageSpec,
    width: u32,
    height: u32,
}

impl DecodeImage {
    /// Checks the specification. An empty `mean` or `deviation` stands for zeros or ones.
    pub fn new(spec: &ImageSpec) -> Result<Self, EngineError> {
        let fault = |message: String| Err(EngineError::Fault(message));
        if !matches!(spec.channels, 1 | 3) {
            return fault(format!(
                "images have 1 or 3 channels, not {}",
                spec.channels
            ));
        }
        let (Ok(width), Ok(height)) = (u32::try_from(spec.width), u32::try_from(spec.height))
        else {
            return fault(format!(
                "an image of {} × {} is too large",
                spec.width, spec.height
            ));
        };
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels > PIXELS_MAX {
            return fault(format!(
                "an image of {width} × {height} is empty or has more than {PIXELS_MAX} pixels"
            ));
        }
        for (name, list) in [("mean", &spec.mean), ("deviation", &spec.deviation)] {
            if !list.is_empty() && list.len() != spec.channels {
                return fault(format!(
                    "{name} has {} numbers for {} channels",
                    list.len(),
                    spec.channels
                ));
            }
        }
        Ok(Self {
            step: Arc::new(Step {
                spec: spec.clone(),
                width,
                height,
            }),
            signature: signature(spec),
        })
    }
}

impl Prepared for DecodeImage {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn weight_bytes(&self) -> usize {
        0
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(DecodeSession {
            step: self.step.clone(),
            signature: self.signature.clone(),
        }))
    }
}

#[derive(Debug)]
struct DecodeSession {
    step: Arc<Step>,
    signature: Signature,
}

impl Session for DecodeSession {
    fn run_in(&mut self, inputs: &[Tensor], rooms: &dyn Rooms) -> Result<Vec<Tensor>, EngineError> {
        self.signature.bind(inputs)?;
        let strings = inputs[0].byte_strings();
        let file = strings.first().copied().unwrap_or_default();
        let image = decode(file, Some(FORMATS))
            .map_err(|cause| EngineError::Input(format!("not a usable image: {cause}")))?;
        let samples = self.step.samples(image, rooms);
        let shape = self.signature.outputs[0]
            .shape
            .concrete()
            .unwrap_or_default();
        Ok(vec![Tensor::new(DType::F32, shape, samples)?])
    }

    /// There is no image of zeros.
    fn wants_warming(&self) -> bool {
        false
    }
}

impl Step {
    /// Resizes where the size differs, converts to the channels, and normalises.
    fn samples(&self, image: DynamicImage, rooms: &dyn Rooms) -> Arc<dyn HostMemory> {
        let bytes = match self.spec.channels {
            1 => self
                .resized(DynamicImage::ImageLuma8(image.into_luma8()))
                .into_bytes(),
            _ => self
                .resized(DynamicImage::ImageRgb8(image.into_rgb8()))
                .into_bytes(),
        };
        let channels = self.spec.channels;
        let plane = self.spec.width * self.spec.height;
        let mut samples = room_or_heap(rooms, 0, plane * channels * size_of::<f32>());
        let target: &mut [f32] = bytemuck::cast_slice_mut(samples.as_mut_slice());
        for (pixel, values) in bytes.chunks_exact(channels).enumerate() {
            for (channel, &value) in values.iter().enumerate() {
                let place = match self.spec.layout {
                    ImageLayout::ChannelsFirst => channel * plane + pixel,
                    ImageLayout::ChannelsLast => pixel * channels + channel,
                };
                target[place] = self.normalised(value, channel);
            }
        }
        samples.into_memory()
    }

    fn resized(&self, image: DynamicImage) -> DynamicImage {
        if (image.width(), image.height()) == (self.width, self.height) {
            return image;
        }
        image.resize_exact(self.width, self.height, FilterType::Triangle)
    }

    fn normalised(&self, value: u8, channel: usize) -> f32 {
        let scaled = f32::from(value) / 255.0 * self.spec.scale;
        let mean = self.spec.mean.get(channel).copied().unwrap_or(0.0);
        let deviation = self.spec.deviation.get(channel).copied().unwrap_or(1.0);
        (scaled - mean) / deviation
    }
}
