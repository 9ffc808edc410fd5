import { wgsl } from "#wgsl";
import { GpuError } from "./errors.js";
import type { Tensor } from "./tensor.js";

export interface Binding {
  readonly index: number;
  readonly name: string;
  /** uniform: 64 KB of the tensor from its offset on. */
  readonly kind: "read" | "write" | "uniform";
}

/** Bytes of a uniform binding besides Params: what every device binds at least. */
export const uniformWindow = 65_536;

export interface ParamField {
  readonly name: string;
  readonly type: "u32" | "i32" | "f32";
}

/** A kernel: one .wgsl file, with what its text says of its bindings, parameters and overrides. */
export interface Kernel {
  /** Path below src/kernels without the ending; also the label in messages. */
  readonly name: string;
  readonly source: string;
  /** In binding order; the uniform Params is binding 0 and not among them. */
  readonly bindings: readonly Binding[];
  readonly params: readonly ParamField[];
  readonly overrides: ReadonlySet<string>;
}

/** Values of a kernel's `override` constants, by name. */
export type Overrides = Readonly<Record<string, number | boolean>>;

/** What a kernel call needs. Tensors are bound by the names that the WGSL file gives them. */
export interface Dispatch {
  readonly params: Readonly<Record<string, number>>;
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** Workgroups wanted; more than 65,535 are folded into a second dimension (see `foldGroups`). */
  readonly groups: number;
  readonly overrides?: Overrides;
}

/**
 * What a kernel is built or launched with, by name: rows of a tile, columns of a lane and the like.
 */
export type Sizes = Readonly<Record<string, number>>;

/**
 * Sizes that were measured to be faster on an adapter than the usual ones, by shape class (see
 * kernels/shape-classes.ts).
 */
export type Tuning = Readonly<Record<string, Sizes>>;

/** The sizes for a shape class: those that were measured on this device, else the usual ones. */
export function tuned<T extends Sizes>(tuning: Tuning, shapeClass: string, usual: T): T {
  return Object.hasOwn(tuning, shapeClass) ? { ...usual, ...tuning[shapeClass] } : usual;
}

function parseBindings(name: string, text: string): Binding[] {
  const found: Binding[] = [];
  for (const [, index, space, variable] of text.matchAll(
    /@group\(0\)\s*@binding\((\d+)\)\s*var<([^>]+)>\s*(\w+)\s*:/g,
  )) {
    const address = space.replaceAll(" ", "");
    if (index === "0" && address === "uniform") continue;
    const kind = address.endsWith("read_write") ? "write" : address === "uniform" ? "uniform" : "read";
    found.push({ index: Number(index), name: variable, kind });
  }
  found.sort((a, b) => a.index - b.index);
  if (found.length === 0 || found.some((binding, i) => binding.index !== i + 1)) {
    throw new GpuError(`${name}: bindings must be numbered 1, 2, 3, ... after the uniform Params at 0`);
  }
  return found;
}

function parseParams(name: string, text: string): ParamField[] {
  const body = /struct\s+Params\s*\{([^}]*)\}/.exec(text)?.[1];
  if (body === undefined) throw new GpuError(`${name}: struct Params is missing`);
  return body
    .split(",")
    .map((field) => field.trim())
    .filter((field) => field !== "")
    .map((field) => {
      const match = /^(\w+)\s*:\s*(u32|i32|f32)$/.exec(field);
      if (!match)
        throw new GpuError(`${name}: Params field "${field}" must be a 4-byte scalar (u32, i32, f32)`);
      return { name: match[1], type: match[2] as ParamField["type"] };
    });
}

/**
 * The text with the values of its lines `const NAME = 1u; // @set` replaced, without the lines that
 * are `// @with` one set to 0.
 */
function setConstants(name: string, source: string, constants: Readonly<Record<string, number>>): string {
  let text = source;
  for (const [constant, value] of Object.entries(constants)) {
    const line = new RegExp(`^(const ${constant} = )\\d+(u;\\s*// @set)`, "m");
    if (!line.test(text))
      throw new GpuError(`${name}: expected a line "const ${constant} = 1u; // @set", got none`);
    text = text.replace(line, `$1${value}$2`);
    if (value === 0) text = text.replace(new RegExp(`^.*// @with ${constant}\\n`, "gm"), "");
  }
  return text;
}

/**
 * Loads a kernel by name and reads its interface off the WGSL text.
 * @param name       path below src/kernels without the ending, e.g. "layer-norm/layer-norm"
 * @param constants  values for lines `const NAME = 1u; // @set` of the file: sizes of arrays, which
 *                   no override can set. With 0 the lines that end in `// @with NAME` are left out:
 *                   what is declared costs even where it is not used
 * @throws GpuError  where the file breaks the rules that the engine binds by
 */
export function loadKernel(name: string, constants: Readonly<Record<string, number>> = {}): Kernel {
  return parseKernel(name, setConstants(name, wgsl(name), constants));
}

/**
 * A kernel of any WGSL text: uniform `struct Params` at binding 0, storage or uniform bindings 1,
 * 2, 3 … of group 0, entry point `main`.
 * @param name  label in messages
 * @throws GpuError  where the text breaks the rules that the engine binds by
 */
export function parseKernel(name: string, source: string): Kernel {
  const text = source.replace(/\/\/[^\n]*/g, "");
  const overrides = new Set([...text.matchAll(/override\s+(\w+)\s*:/g)].map(([, override]) => override));
  return { name, source, bindings: parseBindings(name, text), params: parseParams(name, text), overrides };
}

const maxGroups = 65_535; // maxComputeWorkgroupsPerDimension that every device has

/** Two dimensions whose product is at least `groups`; the kernel drops what is too much. */
export function foldGroups(groups: number): [number, number] {
  const y = Math.ceil(groups / maxGroups);
  return [Math.ceil(groups / y), y];
}

function fits(value: number, type: "u32" | "i32"): boolean {
  return type === "u32" ? value >>> 0 === value : (value | 0) === value;
}

/**
 * Writes a dispatch's parameters in the order of struct Params.
 * @throws GpuError  a missing or unknown name
 */
export function writeParams(
  kernel: Kernel,
  values: Readonly<Record<string, number>>,
  view: DataView,
  offset: number,
): void {
  let given = 0;
  for (const name in values) if (values[name] !== undefined) given++;
  for (const [i, field] of kernel.params.entries()) {
    const value = values[field.name];
    if (value === undefined) throw new GpuError(`${kernel.name}: missing parameter ${field.name}`);
    if (field.type !== "f32" && !fits(value, field.type)) {
      throw new GpuError(`${kernel.name}: parameter ${field.name} must be a ${field.type}, got ${value}`);
    }
    const at = offset + 4 * i;
    if (field.type === "f32") view.setFloat32(at, value, true);
    else if (field.type === "u32") view.setUint32(at, value, true);
    else view.setInt32(at, value, true);
  }
  if (given !== kernel.params.length) {
    const unknown = Object.keys(values).find((name) => !kernel.params.some((field) => field.name === name));
    throw new GpuError(`${kernel.name}: unknown parameter ${unknown ?? ""}`);
  }
}
