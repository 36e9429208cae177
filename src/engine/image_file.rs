//! Image files turned into pixels.
//!
//! Never trusts what a file claims: dimensions and memory are bounded before anything is decoded.

use std::io::Cursor;

use hayro_jpeg2000::{DecodeSettings, DecoderContext};
use image::error::{DecodingError, ImageFormatHint};
use image::{DynamicImage, GrayImage, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

/// Pixels of a file at most: 64 million.
pub(super) const PIXELS_MAX: u64 = 64 * 1024 * 1024;
/// Bytes that decoding one file may allocate: eight for each pixel, which is 16-bit RGBA.
const ALLOCATION_MAX: u64 = 8 * PIXELS_MAX;

/// How files of JPEG 2000 begin: in a container, or without one.
const JPEG_2000: [&[u8]; 2] = [b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"];

/// Why a file gives no pixels.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageFault {
    #[error("it is {}", expected.unwrap_or("in no format that is known"))]
    Format { expected: Option<&'static str> },
    #[error("{width} × {height} is more than {PIXELS_MAX} pixels")]
    TooLarge { width: u32, height: u32 },
    #[error(transparent)]
    Damaged(#[from] ImageError),
}

/// Decodes a file of one of some formats, whose absence a text describes; without them, of any that can be decoded.
pub(super) fn decode(
    file: &[u8],
    formats: Option<(&[ImageFormat], &'static str)>,
) -> Result<DynamicImage, ImageFault> {
    if formats.is_none() && JPEG_2000.iter().any(|start| file.starts_with(start)) {
        return decode_jpeg_2000(file);
    }
    let reader = || {
        let mut reader = ImageReader::new(Cursor::new(file));
        let mut limits = Limits::default();
        limits.max_alloc = Some(ALLOCATION_MAX);
        reader.limits(limits);
        reader.with_guessed_format().map_err(ImageError::from)
    };
    let known = reader()?
        .format()
        .is_some_and(|format| formats.is_none_or(|(formats, _)| formats.contains(&format)));
    if !known {
        let expected = formats.map(|(_, text)| text);
        return Err(ImageFault::Format { expected });
    }
    let (width, height) = reader()?.into_dimensions()?;
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(ImageFault::TooLarge { width, height });
    }
    Ok(reader()?.decode()?)
}

/// Decodes what the `image` library does not. Only grey and RGB images, and of these the colours only.
fn decode_jpeg_2000(file: &[u8]) -> Result<DynamicImage, ImageFault> {
    let damaged = |error: hayro_jpeg2000::DecodeError| {
        let hint = ImageFormatHint::Name("JPEG 2000".to_owned());
        ImageError::Decoding(DecodingError::new(hint, error))
    };
    let image = hayro_jpeg2000::Image::new(file, &DecodeSettings::default()).map_err(damaged)?;
    let (width, height) = (image.width(), image.height());
    let colours = image.color_space().num_channels();
    let channels = usize::from(colours) + usize::from(image.has_alpha());
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(ImageFault::TooLarge { width, height });
    }
    if !matches!(colours, 1 | 3) {
        return Err(ImageFault::Format { expected: None });
    }
    let mut context = DecoderContext::default();
    let samples = image.decode(&mut context).map_err(damaged)?.data_u8();
    let coloured = samples
        .chunks_exact(channels)
        .flat_map(|pixel| &pixel[..usize::from(colours)])
        .copied()
        .collect();
    let decoded = match colours {
        1 => GrayImage::from_raw(width, height, coloured).map(DynamicImage::ImageLuma8),
        _ => RgbImage::from_raw(width, height, coloured).map(DynamicImage::ImageRgb8),
    };
    decoded.ok_or(ImageFault::Format { expected: None })
}
