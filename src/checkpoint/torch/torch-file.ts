import { show } from "../../json.js";
import { DTYPE_BITS } from "../../formats/dtypes.js";
import type { Dtype } from "../../formats/dtypes.js";
import { type CheckpointError, checkpointError, tensorField } from "../../formats/errors.js";
import {
  MAX_PICKLE_BYTES,
  PickleCall,
  PickleGlobal,
  PicklePersistent,
  PickleTuple,
  describe,
  readPickle,
  refuseForeign,
} from "./pickle.js";
import type { PickleDict, PickleValue } from "./pickle.js";
import { elementCount } from "../../shape.js";
import type { TensorInfo } from "../safetensors/safetensors.js";
import type { ByteSource } from "../source.js";
import { openZip } from "./zip.js";
import type { ZipEntry } from "./zip.js";

/** Dtypes of storage classes. @source torch 2.13 `torch/storage.py`, _dtype_to_storage_type_map */
export const STORAGES: Readonly<Record<string, Dtype>> = {
  "torch.DoubleStorage": "F64",
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.LongStorage": "I64",
  "torch.IntStorage": "I32",
  "torch.ShortStorage": "I16",
  "torch.CharStorage": "I8",
  "torch.ByteStorage": "U8",
  "torch.BoolStorage": "BOOL",
};

const REBUILD = "torch._utils._rebuild_tensor_v2";
const REBUILD_PARAMETER = "torch._utils._rebuild_parameter";
/** The globals of a state dict. */
export const TORCH_GLOBALS: ReadonlySet<string> = new Set([
  "collections.OrderedDict",
  REBUILD,
  REBUILD_PARAMETER,
  ...Object.keys(STORAGES),
]);

/**
 * Keys of the state dict in files of training programs, the first of a level first.
 * @source funasr `checkpoint_utils.normalize_checkpoint_state`; DeepSpeed's `module`
 */
const WRAPPERS = ["state_dict", "model_state_dict", "model", "module"];
const MAX_WRAPPERS = 8;

/** First bytes of files of torch.save before 1.6: the pickle of its magic number. */
const LEGACY = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/**
 * The tensors of a state dict in a file of torch.save (PyTorch 1.6 or newer). Reads only the zip's
 * directory and the pickle, and executes nothing. What a trainer saves beside it, such as optimiser
 * and scheduler, is left aside.
 * @returns  tensors by name; two of one storage share its bytes, such as a tied head and the
 *   embedding
 * @throws CheckpointError  the file is damaged or contradicts itself, or a tensor is not contiguous
 * @source torch 2.13 `torch/serialization.py`, `torch/_utils.py`
 */
export async function openTorchFile(source: ByteSource): Promise<ReadonlyMap<string, TensorInfo>> {
  await refuseLegacy(source);
  const entries = await openZip(source);
  const pickle = [...entries.values()].find(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  const root = pickle?.name.slice(0, -"data.pkl".length);
  const refuse = (field: string, expected: string, got: string | number, advice: string): CheckpointError =>
    checkpointError(source.name, field, expected, got, advice);
  if (!pickle || root === undefined)
    throw refuse("zip", "an entry NAME/data.pkl", "none", "this is no file of torch.save");
  const { byteLength } = pickle;
  if (byteLength > MAX_PICKLE_BYTES)
    throw refuse("data.pkl", `at most ${MAX_PICKLE_BYTES} bytes`, byteLength, "save the state dict alone");
  await checkByteOrder(source, entries.get(`${root}byteorder`));
  const bytes = await source.read(pickle.offset, pickle.byteLength);
  const state = stateDict(readPickle(bytes, source.name, TORCH_GLOBALS), source.name);
  const archive = { file: source.name, entries, root };
  const tensors = new Map<string, TensorInfo>();
  const seen = new Set<PickleValue>();
  for (const [name, value] of state) {
    if (typeof name !== "string")
      throw refuse("state dict", "names of tensors", describe(name), "this is no state dict");
    if (/(^|\.)_extra_state$/.test(name)) continue; // of a module, not a weight
    refuseForeign(value, source.name, seen);
    tensors.set(name, readTensor(archive, name, value));
  }
  return tensors;
}

async function refuseLegacy(source: ByteSource): Promise<void> {
  const head = await source.read(0, Math.min(LEGACY.length, source.size));
  if (head.length < LEGACY.length || head.some((byte, i) => byte !== LEGACY[i])) return;
  throw checkpointError(
    source.name,
    "format",
    "the zip that torch.save writes since PyTorch 1.6",
    "its older format",
    "load it with PyTorch and save it again",
  );
}

async function checkByteOrder(source: ByteSource, entry: ZipEntry | undefined): Promise<void> {
  if (!entry) return; // before PyTorch 2.1: little-endian machines only
  const order = new TextDecoder().decode(await source.read(entry.offset, Math.min(entry.byteLength, 8)));
  if (order === "little") return;
  const field = "byteorder";
  throw checkpointError(source.name, field, '"little"', show(order));
}

/** The dict of tensors, which training programs may wrap in other dicts. */
function stateDict(value: PickleValue, file: string): PickleDict {
  if (!(value instanceof Map)) {
    if (value instanceof PickleCall) refuseForeign(new PickleTuple(value.args), file);
    const advice =
      value instanceof PickleCall ? "a whole object was saved: save its state_dict()" : undefined;
    throw checkpointError(file, "pickle", "a state dict", describe(value), advice);
  }
  let dict: PickleDict = value;
  for (let depth = 0; depth < MAX_WRAPPERS; depth++) {
    const inner = unwrapDict(dict);
    if (!inner) break;
    dict = inner;
  }
  return dict;
}

/** The dict inside a wrapper: by its key, or the only one with tensors where the dict has none. */
function unwrapDict(dict: PickleDict): PickleDict | undefined {
  const named = WRAPPERS.map((key) => dict.get(key)).find((value) => value instanceof Map);
  if (named instanceof Map) return named;
  const values = [...dict.values()];
  if (values.some(isTensor)) return undefined;
  const held = values.filter((value) => value instanceof Map && [...value.values()].some(isTensor));
  return held.length === 1 ? (held[0] as PickleDict) : undefined;
}

function isTensor(value: PickleValue): boolean {
  return value instanceof PickleCall && (value.name === REBUILD || value.name === REBUILD_PARAMETER);
}

interface Archive {
  readonly file: string;
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** "archive/", the prefix of every entry's name. */
  readonly root: string;
}

/** A tensor's entry, from the pickled call that would rebuild it. */
function readTensor(archive: Archive, name: string, value: PickleValue): TensorInfo {
  const refuse = (expected: string, got: string, advice?: string): CheckpointError =>
    checkpointError(archive.file, tensorField(name), expected, got, advice);
  const call = value instanceof PickleCall && value.name === REBUILD_PARAMETER ? value.args[0] : value;
  if (!(call instanceof PickleCall && call.name === REBUILD)) throw refuse("a tensor", describe(value));
  const [storage, first, size, stride] = call.args;
  const shape = integers(size);
  const strides = integers(stride);
  const [firstElement] = integers(new PickleTuple([first ?? null])) ?? [];
  if (!shape || strides?.length !== shape.length || firstElement === undefined)
    throw refuse("an offset, a size and strides of whole numbers", "others");
  const { dtype, entry, elements } = readStorage(archive, storage, refuse);
  const count = elementCount(shape);
  if (!isContiguous(shape, strides)) {
    const got = `size ${show(shape)} with strides ${show(strides)}`;
    throw refuse("a contiguous tensor", got, "save it again after .contiguous()");
  }
  if (!Number.isSafeInteger(count) || firstElement + count > elements) {
    const got = `${count} from ${firstElement}`;
    throw refuse(`elements inside the ${elements} of its storage`, got);
  }
  const bytes = DTYPE_BITS[dtype] / 8;
  return { name, dtype, shape, offset: entry.offset + firstElement * bytes, byteLength: count * bytes };
}

/** Reads the persistent id of a storage: ("storage", class, key, device, elements). */
function readStorage(
  { entries, root }: Archive,
  value: PickleValue | undefined,
  refuse: (expected: string, got: string, advice?: string) => CheckpointError,
): { dtype: Dtype; entry: ZipEntry; elements: number } {
  const id = value instanceof PicklePersistent && value.id instanceof PickleTuple ? value.id.items : [];
  const [kind, type, key, , elements] = id;
  const isStorage = type instanceof PickleGlobal && Object.hasOwn(STORAGES, type.name);
  if (kind !== "storage" || !isStorage || typeof key !== "string" || !isCount(elements))
    throw refuse("a storage of numbers", value === undefined ? "nothing" : describe(value));
  const entry = entries.get(`${root}data/${key}`);
  if (!entry) throw refuse(`its storage ${show(`${root}data/${key}`)} in the zip`, "none");
  const dtype = STORAGES[type.name];
  const bytes = (elements * DTYPE_BITS[dtype]) / 8;
  const expected = `${bytes} bytes of storage for ${elements} elements`;
  if (bytes !== entry.byteLength) throw refuse(expected, `${entry.byteLength}`, "the file is damaged");
  return { dtype, entry, elements };
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function integers(value: PickleValue | undefined): number[] | undefined {
  if (!(value instanceof PickleTuple) || value.items.length > 64) return undefined;
  return value.items.every(isCount) ? [...value.items] : undefined;
}

/** True if row-major without gaps. An axis of one element may have any stride. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  if (shape.includes(0)) return true;
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis];
  }
  return true;
}
