// y = 1.      A kernel without struct Params, which the loader refuses.
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [1]

@compute @workgroup_size(1)
fn main() { y[0] = 1.0; }
