//! Keeps the floor plan true: import directions, file sizes, module docs.
