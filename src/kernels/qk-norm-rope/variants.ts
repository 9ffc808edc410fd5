import { kernelPair } from "../variants.js";

/**
 * qk-norm-rope.wgsl or, for heads whose halves are whole vec4 with subgroups of one size,
 * qk-norm-rope-subgroup.wgsl.
 */
export const qkNormRopeKernel = kernelPair(
  "qk-norm-rope/qk-norm-rope",
  ({ rows, heads, kv_heads, half }, { tensors: { qkv, angles, slots } }) => ({
    flops: rows * (heads + kv_heads) * 2 * half * 7,
    bytes: 2 * qkv.bytes + angles.bytes + slots.bytes, // what is read is written: queries, and rows of the cache
  }),
);
