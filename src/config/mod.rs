//! Reading a configuration: defaults, file, environment, and every problem with its place.
