//! Reading a configuration: compiled defaults, then the file, then `BLOCKFLOW_*` variables of the environment.
//!
//! Checks form only: keys, types, ranges, spellings. Whether names exist and signatures agree is `plan`'s to decide,
//! whether files can be read is `app`'s. Every problem of form is reported at once, with file, line, key, the value
//! seen and what would be right. Nothing here reads the environment itself or touches a model file.
//!
//! A variable is named like its key, in capitals, with two underscores for each dot: `BLOCKFLOW_SERVER__HTTP`,
//! `BLOCKFLOW_BLOCKS__BACKBONE__BATCH__MAX`. A `-` in the name of a block, pipeline or host, and the `:` in that of a
//! device, is written `_`. Lists and tables are written
//! as in TOML.
//!
//! Invariants: what [`load()`] returns has every default applied and every bound kept, a default standing for what was
//! reported as wrong; hosts, blocks and pipelines stand in the order of the file.

mod block;
mod defaults;
mod device;
mod edge;
mod environment;
mod error;
mod host;
mod load;
mod located;
mod locator;
mod pipeline;
mod place;
mod proof;
mod reader;
mod reload;
mod sections;
mod source;
mod tensors;
mod value;
mod wire;

pub use error::ConfigError;
pub use load::{Loaded, load};
pub use located::Located;
pub use locator::Locator;
