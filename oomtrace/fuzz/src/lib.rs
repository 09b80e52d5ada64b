//! What the fuzz targets share: making a story of records, keeping account of it, and judging what is shown.

pub mod btf;
pub mod ledger;
pub mod session;
pub mod shown;
pub mod story;
