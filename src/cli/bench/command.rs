//! The command: opens the target, makes the inputs, drives the load, reports.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};

use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::image::ImageFlags;
use crate::cli::output::{self, Format};
use crate::cli::request::{self, OwnPipeline};
use crate::cli::tensors::{self, NamedFile};
use crate::cli::{compose, dims};
use crate::types::{Signature, Tensor};

use super::arrivals::Arrivals;
use super::driver::{self, Load};
use super::http::Server;
use super::report::Report;
use super::synthetic::{self, Sizes};
use super::target::Target;

/// How long is measured where neither a time nor a number is asked for.
const DURATION: Duration = Duration::from_secs(10);

/// Times that instants can be moved by on every machine.
const DURATION_MAX: Duration = Duration::from_secs(1000 * 3600);

/// Requests under way, each of which holds its inputs.
const IN_FLIGHT_MAX: usize = 65_536;

/// Requests per second: one in a quarter of an hour, and more than anything answers.
const RATES: RangeInclusive<f64> = 0.001..=1e6;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("place").required(true).args(["config", "url"]))]
pub(in crate::cli) struct BenchArguments {
    /// Configuration file: measure in this process.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Server to measure over HTTP, such as http://127.0.0.1:8000.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Pipeline; may be left out where there is only one.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Closed loop: requests under way at any time.
    #[arg(long, value_name = "N", default_value = "1", value_parser = in_flight, conflicts_with = "rate")]
    concurrency: usize,
    /// Open loop: requests per second, sent whether or not earlier ones were answered.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Spacing of an open loop.
    #[arg(long, default_value = "poisson", requires = "rate")]
    arrivals: Spacing,
    /// Requests under way at most in an open loop; later ones wait, and their waiting counts.
    #[arg(long, value_name = "N", default_value = "1024", value_parser = in_flight, requires = "rate")]
    in_flight_max: usize,
    /// How long to measure, such as 10s (the default) or 500ms.
    #[arg(long, value_parser = bounded_duration)]
    duration: Option<Duration>,
    /// How many requests to measure.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How long to send before measuring.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = bounded_duration)]
    warmup: Duration,
    /// HTTP: how long to wait for a reply.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = bounded_duration)]
    timeout: Duration,
    /// Size of first dimensions that the signature leaves open.
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    rows: usize,
    /// Size of a dimension by its symbol. Repeatable.
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dims::dim)]
    dims: Vec<(Arc<str>, usize)>,
    /// Input to send in place of a random one, as for `infer`. Repeatable.
    #[arg(long = "input", short = 'i', value_name = "NAME=FILE")]
    inputs: Vec<NamedFile>,
    /// Seed of random inputs and of Poisson arrivals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    image: ImageFlags,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Spacing {
    Poisson,
    Constant,
}

pub(in crate::cli) fn execute(arguments: &BenchArguments) -> Result<Exit, CliError> {
    let client = request::client()?;
    let target = match (&arguments.config, &arguments.url) {
        (Some(config), _) => {
            let loaded = compose::load_to_run(config)?;
            let planned = request::planned(&loaded, arguments.pipeline.as_deref())?;
            let (name, inputs) = (planned.name.clone(), inputs(arguments, &planned.signature)?);
            let pipeline = OwnPipeline::start(loaded, &name)?;
            Target::Process {
                pipeline: Box::new(pipeline),
                inputs,
            }
        }
        (None, Some(url)) => client.block_on(open_http(arguments, url))?,
        (None, None) => return Err(CliError::Usage("--config or --url is missing".to_owned())),
    };
    let load = load(arguments);
    let outcome = client.block_on(driver::drive(&target, &load));
    let report = Report::new(target.name(), &load, outcome);
    target.stop();
    match arguments.format {
        Format::Text => output::print(&report.text())?,
        Format::Json => output::print_json(&report)?,
    }
    match report.failed {
        0 => Ok(Exit::Success),
        errors => Err(CliError::BenchErrors {
            errors,
            requests: report.requests,
        }),
    }
}

async fn open_http(arguments: &BenchArguments, url: &str) -> Result<Target, CliError> {
    let server = Server::new(url, arguments.timeout)?;
    let name = server.choose(arguments.pipeline.as_deref()).await?;
    let signature = server.signature(&name).await?;
    let inputs = inputs(arguments, &signature)?;
    Ok(Target::Http(server.pipeline(&name, &signature, &inputs)?))
}

fn inputs(arguments: &BenchArguments, signature: &Signature) -> Result<Vec<Tensor>, CliError> {
    tensors::check_names(signature, &arguments.inputs)?;
    let given = signature
        .inputs
        .iter()
        .map(|spec| {
            let file = arguments.inputs.iter().find(|file| file.name == spec.name);
            file.map(|file| tensors::load(signature, spec, &file.path, &arguments.image))
                .transpose()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let sizes = Sizes {
        rows: arguments.rows,
        symbols: arguments.dims.iter().cloned().collect(),
    };
    synthetic::inputs(signature, given, sizes, arguments.seed)
        .map_err(|cause| tensors::wrong(signature, cause))
}

fn load(arguments: &BenchArguments) -> Load {
    let arrivals = match (arguments.rate, arguments.arrivals) {
        (None, _) => Arrivals::Closed {
            concurrency: arguments.concurrency,
        },
        (Some(rate), Spacing::Poisson) => Arrivals::Poisson { rate },
        (Some(rate), Spacing::Constant) => Arrivals::Constant { rate },
    };
    let unbounded = arguments.duration.is_none() && arguments.requests.is_none();
    Load {
        arrivals,
        warmup: arguments.warmup,
        duration: if unbounded {
            Some(DURATION)
        } else {
            arguments.duration
        },
        requests: arguments.requests,
        in_flight_max: arguments.in_flight_max,
        seed: arguments.seed,
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| "expected a number from 1".to_owned())
}

fn in_flight(text: &str) -> Result<usize, String> {
    positive(text)?;
    text.parse()
        .ok()
        .filter(|number| *number <= IN_FLIGHT_MAX)
        .ok_or_else(|| format!("expected a number from 1 to {IN_FLIGHT_MAX}"))
}

fn bounded_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration > DURATION_MAX {
        return Err(format!(
            "expected at most {}h",
            DURATION_MAX.as_secs() / 3600
        ));
    }
    Ok(duration)
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| RATES.contains(rate))
        .ok_or_else(|| {
            let (least, most) = (RATES.start(), RATES.end());
            format!("expected requests per second above 0, from {least} to {most}")
        })
}
