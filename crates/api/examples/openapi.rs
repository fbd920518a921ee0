//! Prints the description of every route. `cargo xtask codegen` keeps it in docs/openapi.json.
#![allow(clippy::print_stdout, reason = "it is what this is for")]

fn main() {
    println!("{}", larder_api::openapi());
}
