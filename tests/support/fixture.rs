//! The nasty child: a program whose behaviour tests choose by switches.
fn main() {}
