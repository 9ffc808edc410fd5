import { resolveModel } from "../hub/resolve.js";
import { note, progressBar } from "./output.js";

/** What every command accepts for a model. */
export const modelForms = "checkpoint directory, or OWNER/NAME[@REVISION] on the hub";

/** The directory of a model; one that has to be downloaded is, with a bar. */
export async function findModel(model: string): Promise<string> {
  let bar: ReturnType<typeof progressBar> | undefined;
  try {
    return await resolveModel(model, {
      onNote: note,
      onProgress: (done, total) => (bar ??= progressBar("downloading", total)).update(done),
    });
  } finally {
    bar?.stop();
  }
}
