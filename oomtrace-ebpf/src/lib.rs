//! records
#![no_std]
