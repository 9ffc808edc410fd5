import { basename } from "node:path";
import type { Readable } from "node:stream";
import type { MultipartFile, MultipartValue } from "@fastify/multipart";
import type { FastifyRequest } from "fastify";
import { show } from "../../json.js";
import { ApiError, wrongField } from "./api-error.js";
import { paceOf } from "./pace.js";
import type { Spool, Spooled } from "./spool.js";

/** What multipart bodies may have beside their file. */
export const FORM_LIMITS = {
  fieldNameSize: 200,
  /** Bytes of a field's value. */
  fieldSize: 65_536,
  fields: 1100,
  files: 8,
  headerPairs: 50,
  parts: 1108,
} as const;

/** An upload on the disk. */
export interface Upload extends Spooled {
  /** As the client calls it; never a path of this machine. */
  readonly name: string;
}

/** The fields of a request, and its file. */
export interface Form {
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly file: Upload | undefined;
}

const longestName = 120;

/** What a form may be, and where its file goes. */
export interface FormOptions {
  readonly spool: Spool;
  /** Bytes of the file at most. */
  readonly maxBytes: number;
  /** The body comes at least so fast; see Pace. */
  readonly stallMs: number;
  /** Fields that are texts: a file in the place of one is refused. */
  readonly texts: ReadonlySet<string>;
}

/**
 * Reads a multipart body; its file goes to the disk while it comes. Where this throws, no file is
 * left.
 * @throws ApiError  the file is too large, a value is too long, the body comes too slowly
 */
export async function readForm(request: FastifyRequest, options: FormOptions): Promise<Form> {
  checkHead(request, options.maxBytes);
  const pace = paceOf(request.raw, options.stallMs);
  const reader = new FormReader(request, options);
  try {
    return await Promise.race([reader.read(), pace.tooSlow]);
  } catch (error) {
    const { raw } = request;
    raw.unpipe(); // what still comes is thrown away, so that the client reads the answer
    raw.resume();
    await reader.abandon();
    throw raw.destroyed && !raw.complete ? gone() : formError(error);
  } finally {
    pace.stop();
  }
}

/** @throws ApiError  the headers say that no such form comes */
function checkHead(request: FastifyRequest, maxBytes: number): void {
  const { "content-type": type, "content-encoding": encoding = "identity" } = request.headers;
  if (!request.isMultipart()) throw wrongType(type);
  if (encoding.toLowerCase() !== "identity")
    throw new ApiError(415, `content-encoding: expected none, got ${show(encoding)}`, {
      param: "content-encoding",
      code: "unsupported_media_type",
    });
  if (Number(request.headers["content-length"]) > maxBytes + spare) throw tooLarge(maxBytes);
}

/** The body is of another type. */
export function wrongType(type: string | undefined): ApiError {
  const got = type === undefined || type === "" ? "none" : show(type);
  return new ApiError(415, `content-type: expected multipart/form-data with file and model, got ${got}`, {
    param: "content-type",
    code: "unsupported_media_type",
  });
}

/** One form on its way. */
class FormReader {
  readonly #fields = new Map<string, string[]>();
  #file: Upload | undefined;
  /** The file that comes now. */
  #coming: Readable | undefined;

  constructor(
    private readonly request: FastifyRequest,
    private readonly options: FormOptions,
  ) {}

  async read(): Promise<Form> {
    const limits = { ...FORM_LIMITS, fileSize: this.options.maxBytes };
    for await (const part of this.request.parts({ limits })) {
      if (part.type === "file") await this.#takeFile(part);
      else this.#takeText(part);
    }
    return { fields: this.#fields, file: this.#file };
  }

  /** Removes the file; one that still comes goes when its writing ends. */
  async abandon(): Promise<void> {
    this.#coming?.destroy();
    await this.#file?.remove();
  }

  async #takeFile({ fieldname, filename, file }: MultipartFile): Promise<void> {
    const { spool, maxBytes, texts } = this.options;
    if (fieldname !== "file") {
      file.resume(); // unknown fields are ignored
      if (texts.has(fieldname.replace(/\[.*$/, ""))) throw wrongField(fieldname, "a text", "a file");
      return;
    }
    if (this.#file) throw wrongField("file", "one file", "several");
    this.#coming = file;
    const written = await spool.write(file).catch((error: unknown) => {
      throw file.truncated ? tooLarge(maxBytes) : error;
    });
    this.#file = { ...written, name: fileName(filename) };
    if (file.truncated) throw tooLarge(maxBytes);
  }

  #takeText(part: MultipartValue): void {
    const { fieldname, value } = part as { fieldname?: string } & typeof part;
    if (fieldname === undefined) return; // a part without a name
    if (part.valueTruncated || part.fieldnameTruncated)
      throw wrongField(fieldname, `at most ${FORM_LIMITS.fieldSize} bytes`, "more");
    const text = typeof value === "string" ? value : JSON.stringify(value);
    this.#fields.set(fieldname, [...(this.#fields.get(fieldname) ?? []), text]);
  }
}

/** Bytes that a form may have beside its file. */
const spare = 2 ** 20;

function tooLarge(maxBytes: number): ApiError {
  return new ApiError(413, `file: expected at most ${maxBytes} bytes, got more`, {
    param: "file",
    code: "request_too_large",
  });
}

/** The client went away; nobody reads the answer. */
function gone(): ApiError {
  return new ApiError(499, "the client is gone", { code: "cancelled" });
}

/** What the parser refuses, by its codes. */
const refusals: Readonly<Record<string, readonly [status: number, expected: string, got: string]>> = {
  FST_FIELDS_LIMIT: [413, `at most ${FORM_LIMITS.fields} fields`, "more"],
  FST_FILES_LIMIT: [413, `at most ${FORM_LIMITS.files} files`, "more"],
  FST_PARTS_LIMIT: [413, `at most ${FORM_LIMITS.parts} parts`, "more"],
  FST_PROTO_VIOLATION: [400, "names of fields", "one that every object of JavaScript has"],
  FST_INVALID_JSON_FIELD_ERROR: [400, "JSON in a part of type application/json", "another text"],
};

/** Faults of the parser are faults of the body. */
function formError(error: unknown): unknown {
  if (error instanceof ApiError) return error;
  const { code = "ERR_STREAM", message } = error as NodeJS.ErrnoException;
  const damaged: (typeof refusals)[string] = [400, "multipart form data", `a damaged one: ${message}`];
  const refusal = code.startsWith("ERR_STREAM") ? damaged : refusals[code];
  if (refusal === undefined) return error;
  const [status, expected, got] = refusal;
  return new ApiError(status, `body: expected ${expected}, got ${got}`, {
    param: "body",
    code: status === 413 ? "request_too_large" : "invalid_body",
  });
}

/** A client's name of a file, short enough for an error. */
function fileName(name: string | undefined): string {
  const last = basename((name ?? "").replaceAll("\\", "/"));
  return last === "" ? "file" : last.slice(-longestName);
}
