//! Files of images turned into pixels.

use tch::{Kind, Tensor};

use crate::engine::image_file::{ImageFault, decode};
use crate::graph::PixelFormat;

use super::super::cause::Cause;
use super::args::Kernel;
use super::elements::bytes;

/// `test_image_decoder_decode_bmp_rgb`, `_jpeg2k_rgb`, `_png_rgb`, `_pnm_rgb`, `_tiff_rgb`, `_webp_rgb`; those with
/// JPEG files ask for libjpeg's rounding of colours
///
/// A file that is no image gives one without pixels, as ONNX asks for; one that claims to be too large is an error.
pub(super) fn image_decoder(format: PixelFormat) -> Kernel {
    Box::new(move |args| {
        let file = bytes(args.tensor(0)?)?;
        let image = match decode(file.bytes(), None) {
            Ok(image) => image.into_rgb8(),
            Err(fault @ ImageFault::TooLarge { .. }) => return Err(Cause::new(fault.to_string())),
            Err(ImageFault::Format { .. } | ImageFault::Damaged(_)) => image::RgbImage::new(0, 0),
        };
        let (width, height) = (i64::from(image.width()), i64::from(image.height()));
        let mut pixels = image.into_raw();
        let channels = match format {
            PixelFormat::Rgb => 3,
            PixelFormat::Bgr => {
                for pixel in pixels.as_chunks_mut::<3>().0 {
                    pixel.swap(0, 2);
                }
                3
            }
            PixelFormat::Grayscale => {
                pixels = pixels.as_chunks().0.iter().copied().map(luma).collect();
                1
            }
        };
        let shape = [height, width, channels];
        if pixels.is_empty() {
            return Ok(Tensor::f_empty(shape, (Kind::Uint8, tch::Device::Cpu))?.into());
        }
        Ok(Tensor::f_from_slice(&pixels)?.f_reshape(shape)?.into())
    })
}

/// Brightness by ITU-R BT.601, as JPEG has it, in 16-bit fractions.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    ((sum + 0x8000) >> 16) as u8
}
