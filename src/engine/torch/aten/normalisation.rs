//! Normalisations.

use tch::{Kind, Tensor};

use crate::graph::Normalization;

use super::super::cause::Cause;
use super::super::dtype::kind_of;
use super::super::ffi::scalar;
use super::args::{Kernel, axis_of, signed};
use super::context::NodeContext;

/// Makes the kernel of a normalisation.
pub(super) fn normalization(
    context: &NodeContext<'_>,
    kind: Normalization,
) -> Result<Kernel, Cause> {
    Ok(match kind {
        Normalization::Batch { epsilon } => batch(epsilon),
        Normalization::BatchTraining { epsilon, momentum } => batch_training(epsilon, momentum),
        Normalization::Layer { axis, epsilon, .. } => layer(context, axis, epsilon)?,
        Normalization::RootMeanSquare { axis, epsilon } => root_mean_square(axis, epsilon),
        Normalization::Group { groups, epsilon } => group(Some(groups), epsilon),
        Normalization::Instance { epsilon } => group(None, epsilon),
        Normalization::LocalResponse {
            size,
            alpha,
            beta,
            bias,
        } => local_response(size, alpha, beta, bias),
    })
}

/// Parameters of a type that libtorch allows beside the data: the same, or FP32 with 16-bit data.
fn beside(x: &Tensor, parameter: &Tensor) -> Result<Tensor, Cause> {
    let (data, own) = (x.f_kind()?, parameter.f_kind()?);
    let brief = matches!(data, Kind::Half | Kind::BFloat16);
    Ok(match own {
        _ if own == data || brief && own == Kind::Float => parameter.shallow_clone(),
        _ if brief => parameter.f_totype(Kind::Float)?,
        _ => parameter.f_totype(data)?,
    })
}

/// Scale, bias, mean and variance, of one type that libtorch allows beside the data.
fn batch_parameters(x: &Tensor, parameters: [&Tensor; 4]) -> Result<[Tensor; 4], Cause> {
    let kinds = parameters.map(Tensor::f_kind);
    let mut all = parameters.map(|parameter| parameter.shallow_clone());
    let first = kinds[0].as_ref().ok().copied();
    let mixed = kinds
        .iter()
        .any(|kind| kind.as_ref().ok().copied() != first);
    let wide = match x.f_kind()? {
        Kind::Half | Kind::BFloat16 => Kind::Float,
        kind => kind,
    };
    for parameter in &mut all {
        *parameter = if mixed {
            parameter.f_totype(wide)?
        } else {
            beside(x, parameter)?
        };
    }
    Ok(all)
}

fn has_channels(x: &Tensor) -> Result<(), Cause> {
    if x.dim() < 2 {
        return Err(Cause::new(format!("data {:?} has no channels", x.size())));
    }
    Ok(())
}

/// `test_batchnorm_epsilon`, `test_batchnorm_example`
fn batch(epsilon: f32) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        has_channels(x)?;
        let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|input| args.tensor(input));
        let [scale, bias, mean, variance] = batch_parameters(x, [scale?, bias?, mean?, variance?])?;
        let result = normalised(x, &scale, &bias, &mean, &variance, epsilon)?;
        Ok(result.into())
    })
}

fn normalised(
    x: &Tensor,
    scale: &Tensor,
    bias: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    epsilon: f32,
) -> Result<Tensor, Cause> {
    Ok(x.f_batch_norm(
        Some(scale),
        Some(bias),
        Some(mean),
        Some(variance),
        false,
        0.0,
        f64::from(epsilon),
        false,
    )?)
}

/// `test_batchnorm_epsilon_training_mode`, `test_batchnorm_example_training_mode`
fn batch_training(epsilon: f32, momentum: f32) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        has_channels(x)?;
        let [scale, bias, old_mean, old_variance] = [1, 2, 3, 4].map(|input| args.tensor(input));
        let (old_mean, old_variance) = (old_mean?, old_variance?);
        let over: Vec<i64> = (0..signed(x.dim())).filter(|&axis| axis != 1).collect();
        let wide = match x.f_kind()? {
            Kind::Half | Kind::BFloat16 => Kind::Float,
            kind => kind,
        };
        let (variance, mean) = x.f_totype(wide)?.f_var_mean_dim(&over[..], false, false)?;
        let [scale, bias, mean, variance] = batch_parameters(x, [scale?, bias?, &mean, &variance])?;
        let result = normalised(x, &scale, &bias, &mean, &variance, epsilon)?;
        let mixed = |old: &Tensor, new: &Tensor| -> Result<Tensor, Cause> {
            let old_part = scalar::multiply(&old.f_totype(wide)?, f64::from(momentum))?;
            let new_part = scalar::multiply(&new.f_totype(wide)?, 1.0 - f64::from(momentum))?;
            Ok(old_part.f_add(&new_part)?.f_totype(old.f_kind()?)?)
        };
        let kind = old_mean.f_kind()?;
        Ok(vec![
            result,
            mixed(old_mean, &mean)?,
            mixed(old_variance, &variance)?,
            mean.f_totype(kind)?,
            variance.f_totype(kind)?,
        ]
        .into())
    })
}

/// Makes a parameter of just the normalised shape, as libtorch wants it; in ONNX it broadcasts to that.
fn fitted(tensor: &Tensor, shape: &[i64], kind: Kind) -> Result<Tensor, Cause> {
    let tensor = tensor.f_totype(kind)?;
    if tensor.size() == shape {
        return Ok(tensor);
    }
    Ok(tensor.f_expand(shape, false)?.f_contiguous()?)
}

/// `test_layer_normalization_2d_axis0` to `_4d_axis3`, those with negative axes and `_default_axis`
fn layer(context: &NodeContext<'_>, axis: i64, epsilon: f32) -> Result<Kernel, Cause> {
    let statistics = context.node().outputs.iter().skip(1).any(Option::is_some);
    let kept = context.output_dtype(1).map(kind_of).transpose()?;
    let kept = kept.unwrap_or(Kind::Float);
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let (shape, kind) = (x.size(), x.f_kind()?);
        let over = &shape[axis_of(axis, shape.len())?..];
        let scale = fitted(args.tensor(1)?, over, kind)?;
        let bias = args
            .optional(2)?
            .map(|bias| fitted(bias, over, kind))
            .transpose()?;
        let epsilon = f64::from(epsilon);
        if !statistics {
            return Ok(x
                .f_layer_norm(over, Some(scale), bias, epsilon, false)?
                .into());
        }
        let (result, mean, deviation) = x.f_native_layer_norm(over, Some(scale), bias, epsilon)?;
        Ok(vec![result, mean.f_totype(kept)?, deviation.f_totype(kept)?].into())
    }))
}

/// `test_rms_normalization_2d_axis0` to `_4d_axis3`, those with negative axes and `_default_axis`
fn root_mean_square(axis: i64, epsilon: f32) -> Kernel {
    Box::new(move |args| {
        let (x, scale) = (args.tensor(0)?, args.tensor(1)?);
        let shape = x.size();
        let over = &shape[axis_of(axis, shape.len())?..];
        let weight = fitted(scale, over, x.f_kind()?)?;
        let result = x.f_rms_norm(over, Some(weight), f64::from(epsilon))?;
        Ok(result.f_totype(scale.f_kind()?)?.into())
    })
}

/// `test_group_normalization_epsilon`, `test_group_normalization_example`, `test_instancenorm_epsilon`,
/// `test_instancenorm_example`
///
/// Without a number of groups every channel is one.
fn group(groups: Option<usize>, epsilon: f32) -> Kernel {
    Box::new(move |args| {
        let (x, scale, bias) = (args.tensor(0)?, args.tensor(1)?, args.tensor(2)?);
        has_channels(x)?;
        let channels = x.size()[1];
        let groups = groups.map_or(channels, signed);
        if groups < 1 || channels % groups != 0 {
            return Err(Cause::new(format!(
                "{channels} channels do not make {groups} groups"
            )));
        }
        // Opset 18 had parameters for each group.
        let per_channel = |parameter: &Tensor| -> Result<Tensor, Cause> {
            let parameter = parameter.f_totype(x.f_kind()?)?;
            if parameter.size() == [groups] && groups != channels {
                return Ok(parameter.f_repeat_interleave_self_int(channels / groups, 0, None)?);
            }
            Ok(parameter)
        };
        let (scale, bias) = (per_channel(scale)?, per_channel(bias)?);
        let result = x.f_group_norm(groups, Some(scale), Some(bias), f64::from(epsilon), false)?;
        Ok(result.into())
    })
}

/// `test_lrn`, `test_lrn_default`
///
/// Squares are averaged by a pooling over the channels, which are made the rows of an image.
fn local_response(size: usize, alpha: f32, beta: f32, bias: f32) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        has_channels(x)?;
        let (shape, kind) = (x.size(), x.f_kind()?);
        let wide = match kind {
            Kind::Half | Kind::BFloat16 => x.f_totype(Kind::Float)?,
            _ => x.shallow_clone(),
        };
        let (batch, channels) = (shape[0], shape[1]);
        if shape.contains(&0) {
            return Ok(x.shallow_clone().into());
        }
        // A window that reaches beyond all channels counts no more than one that has them all.
        let before = signed((size - 1) / 2).min(channels);
        let behind = signed(size / 2).min(channels);
        let window = before + behind + 1;
        let means = wide
            .f_square()?
            .f_reshape([batch, 1, channels, -1])?
            .f_pad([0, 0, before, behind], "constant", 0.0)?
            .f_avg_pool2d([window, 1], [1, 1], [0, 0], false, true, None)?;
        #[expect(clippy::cast_precision_loss, reason = "numbers of channels")]
        let share = window as f64 / size as f64;
        let divisor = scalar::multiply(&means, f64::from(alpha) * share)?;
        let divisor = scalar::add(&divisor, f64::from(bias))?;
        let divisor = scalar::power(&divisor, f64::from(beta))?.f_reshape(&shape[..])?;
        Ok(wide.f_div(&divisor)?.f_totype(kind)?.into())
    })
}
