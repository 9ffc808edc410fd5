import { perElement } from "../cost.js";
import { rowKernel } from "../row-kernels.js";

/**
 * layer-norm.wgsl or, for rows of whole vec4 with subgroups of one size, layer-norm-subgroup.wgsl.
 */
export const runLayerNorm = rowKernel("layer-norm/layer-norm", perElement(8), { whole: true });

/** layer-norm-backward.wgsl or, likewise, layer-norm-backward-subgroup.wgsl. */
export const runLayerNormBackward = rowKernel("layer-norm/layer-norm-backward", perElement(16));
