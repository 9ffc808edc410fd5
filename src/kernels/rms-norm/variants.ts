import { perElement } from "../cost.js";
import { rowKernel } from "../row-kernels.js";

/** rms-norm.wgsl or, for rows of whole vec4 with subgroups of one size, rms-norm-subgroup.wgsl. */
export const runRmsNorm = rowKernel("rms-norm/rms-norm", perElement(4));

/** rms-norm-backward.wgsl or, likewise, rms-norm-backward-subgroup.wgsl. */
export const runRmsNormBackward = rowKernel("rms-norm/rms-norm-backward", perElement(10));
