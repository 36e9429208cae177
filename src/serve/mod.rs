//! HTTP front end: the Open Inference Protocol v2.
