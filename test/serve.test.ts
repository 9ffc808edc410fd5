import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Serving, demoClip, serve } from "./helpers/serve.js";

// Plan: the built command with the demo model in the real process, through clients that others
// wrote: every format and a stream have the text of `transcribe`; SIGTERM ends it with 0.

const text = "set the oven to eighty two degrees";
let serving: Serving;
let openai: OpenAI;
beforeAll(async () => {
  serving = await serve();
  openai = new OpenAI({ baseURL: `${serving.address}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => serving.end());

test("json, through the openai client", async () => {
  const file = demoClip();
  const answer = await openai.audio.transcriptions.create({ file, model: "demo", language: "en" });
  expect(answer.text).toBe(text);
});
