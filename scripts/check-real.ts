// Downloads the published checkpoint and its example clips, and compares the transcripts with the
// published ones. It needs a network. --model, --clips and --clip name others: npm run check:real
// -- --model OWNER/NAME --clip "a.wav=the words"
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { withBar } from "../src/cli/output.js";
import { Transcriber } from "../src/decode/transcriber.js";
import { FunasrError } from "../src/errors.js";
import { decodeAudio } from "../src/frontend/decode.js";
import { type HubOptions, downloadFiles } from "../src/hub/download.js";
import { HubError } from "../src/hub/errors.js";
import { parseHubName } from "../src/hub/name.js";
import { resolveModel } from "../src/hub/resolve.js";
import { openDevice } from "../src/node/device.js";
import { modelFiles } from "../src/node/model-files.js";

/** @source transformers' integration test of the model */
const published = [
  "example/zh.mp3=开饭时间早上九点至下午五点。",
  "example/en.mp3=The tribal chieftain called for the boy, and presented him with fifty pieces of gold.",
];

interface Clip {
  readonly path: string;
  readonly text: string;
}

/** The run, from the command line. */
function readOptions(): {
  readonly model: string;
  readonly clipsFrom: string;
  readonly clips: readonly Clip[];
} {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: "FunAudioLLM/Fun-ASR-Nano-2512-hf" },
      clips: { type: "string", default: "FunAudioLLM/Fun-ASR-Nano-2512" },
      clip: { type: "string", multiple: true, default: published },
    },
  });
  const clips = values.clip.map((clip) => {
    const at = clip.indexOf("=");
    if (at < 1) throw new HubError(`--clip: expected PATH=TEXT, got ${JSON.stringify(clip)}; write both`);
    return { path: clip.slice(0, at), text: clip.slice(at + 1) };
  });
  return { model: values.model, clipsFrom: values.clips, clips };
}

/** Runs `get` with a download bar on the terminal. */
function download(get: (options: HubOptions) => Promise<string>): Promise<string> {
  return withBar("downloading", (onProgress) => get({ onNote: (text) => console.error(text), onProgress }));
}

/** Transcribes the clips; true if every text is the expected one to the letter. */
async function check(): Promise<boolean> {
  const { model, clipsFrom, clips } = readOptions();
  const name = parseHubName(clipsFrom);
  if (!name)
    throw new HubError(
      `--clips: expected OWNER/NAME[@REVISION], got ${JSON.stringify(clipsFrom)}; correct it`,
    );
  const paths = clips.map(({ path }) => path);
  const directory = await download((options) => downloadFiles(name, () => paths, options));
  const modelPath = await download((options) => resolveModel(model, options));
  const { gpu, adapter } = await openDevice();
  console.error(`device: ${adapter.device} ${adapter.description}`);
  let right = 0;
  try {
    const transcriber = await Transcriber.load(gpu, modelFiles(modelPath));
    for (const { path, text } of clips) {
      const audio = await decodeAudio(await readFile(join(directory, path)), path);
      const [result] = await transcriber.transcribe([transcriber.prepare(audio, path)]);
      const same = result.text === text;
      if (same) right++;
      console.log(`${path}  ${result.text}  (${same ? "as published" : `published: ${text}`})`);
    }
  } finally {
    gpu.destroy();
  }
  console.log(`${right} of ${clips.length} clips to the letter`);
  return right === clips.length;
}

try {
  process.exitCode = (await check()) ? 0 : 1;
} catch (error) {
  const known = error instanceof FunasrError || (error instanceof Error && "code" in error);
  console.error(`error: ${known ? error.message : String(error instanceof Error ? error.stack : error)}`);
  process.exitCode = 1;
}
