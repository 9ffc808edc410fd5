import { basename } from "node:path";
import type { FastifyRequest } from "fastify";
import { ApiError, wrongField } from "./api-error.js";
import type { Spool } from "./spool.js";

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
export interface Upload {
  readonly path: string;
  /** As the client calls it; never a path of this machine. */
  readonly name: string;
  readonly remove: () => Promise<void>;
}

/** The fields of a request, and its file. */
export interface Form {
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly file: Upload | undefined;
}

const longestName = 120;

/**
 * Reads a multipart body; its file goes to the disk while it comes. Where this throws, no file is
 * left.
 * @throws ApiError  the file is too large, a value is too long
 */
export async function readForm(request: FastifyRequest, spool: Spool, maxBytes: number): Promise<Form> {
  const fields = new Map<string, string[]>();
  let file: Upload | undefined;
  if (Number(request.headers["content-length"]) > maxBytes + spare) throw tooLarge(maxBytes);
  try {
    const limits = { ...FORM_LIMITS, fileSize: maxBytes };
    for await (const part of request.parts({ limits })) {
      if (part.type === "file") {
        if (part.fieldname !== "file") {
          part.file.resume(); // unknown fields are ignored
          continue;
        }
        if (file) throw wrongField("file", "one file", "several");
        const written = await spool.write(part.file).catch((error: unknown) => {
          throw part.file.truncated ? tooLarge(maxBytes) : error;
        });
        file = { ...written, name: fileName(part.filename) };
        if (part.file.truncated) throw tooLarge(maxBytes);
        continue;
      }
      const { fieldname, value } = part as { fieldname?: string } & typeof part;
      if (fieldname === undefined) continue; // a part without a name
      if (part.valueTruncated || part.fieldnameTruncated)
        throw wrongField(fieldname, `at most ${FORM_LIMITS.fieldSize} bytes`, "more");
      fields.set(fieldname, [
        ...(fields.get(fieldname) ?? []),
        typeof value === "string" ? value : JSON.stringify(value),
      ]);
    }
    return { fields, file };
  } catch (error) {
    await file?.remove();
    request.raw.unpipe(); // what still comes is thrown away, so that the client reads the answer
    request.raw.resume();
    throw request.raw.destroyed && !request.raw.complete ? gone() : formError(error);
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

/** Faults of the parser are faults of the body. */
function formError(error: unknown): unknown {
  if (error instanceof ApiError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== undefined && !code.startsWith("ERR_STREAM")) return error;
  return new ApiError(400, `body: expected multipart form data, got a damaged one: ${message}`, {
    code: "invalid_body",
  });
}

/** A client's name of a file, short enough for an error. */
function fileName(name: string | undefined): string {
  const last = basename((name ?? "").replaceAll("\\", "/"));
  return last === "" ? "file" : last.slice(-longestName);
}
