import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Engine, Job, JobResult } from "../engine/engine.js";
import { EngineError } from "../engine/errors.js";
import type { ServerSettings } from "../settings.js";
import type { Admission, Visit } from "./admission.js";
import { answerOf, logprobsOf, tokenUsage } from "./answers.js";
import { ApiError, apiError, wrongField } from "./api-error.js";
import { onceGone } from "./connections.js";
import { type SpeechRequest, parseSpeechRequest, speechFields } from "./fields.js";
import { type Upload, readForm } from "./form.js";
import type { Metrics } from "./metrics.js";
import type { Spool } from "./spool.js";

/** What the routes share. */
export interface Parts {
  readonly engine: Engine;
  readonly settings: ServerSettings;
  readonly admission: Admission;
  readonly spool: Spool;
  readonly metrics: Metrics;
}

/** `POST /v1/audio/transcriptions` and `POST /v1/audio/translations`. */
export function speechRoutes(app: FastifyInstance, parts: Parts): void {
  for (const [url, task] of [
    ["/v1/audio/transcriptions", "transcribe"],
    ["/v1/audio/translations", "translate"],
  ] as const)
    app.post(url, (request, reply) => new Speech(parts, task, request, reply).answer());
}

/** One request with audio, from its body to its answer. */
class Speech {
  readonly #gone = new AbortController();
  #upload: Upload | undefined;
  #visit: Visit | undefined;

  constructor(
    private readonly parts: Parts,
    private readonly task: Job["task"],
    private readonly request: FastifyRequest,
    private readonly reply: FastifyReply,
  ) {
    onceGone(request, reply, () => {
      if (!reply.raw.writableFinished)
        this.#gone.abort(new EngineError({ kind: "cancelled", message: "the client is gone" }));
    });
  }

  async answer(): Promise<FastifyReply> {
    const { admission, spool, settings, engine } = this.parts;
    const { maxUploadBytes: maxBytes, stallMs } = settings;
    this.#visit = admission.arrive();
    onceGone(this.request, this.reply, this.#visit.leave);
    try {
      const { fields, file } = await readForm(this.request, {
        spool,
        maxBytes,
        stallMs,
        texts: speechFields,
      });
      this.#upload = file;
      const asked = parseSpeechRequest(fields, this.task, settings.model);
      if (!file) throw wrongField("file", "an audio file", fields.has("file") ? "a text" : "none");
      if (asked.logprobs && engine.about?.words === false)
        throw wrongField("include[]", "a checkpoint with a CTC head for logprobs", "one without");
      const job = this.#job(asked, file);
      return await (asked.stream ? this.#stream(job, asked) : this.#whole(job, asked));
    } finally {
      await this.#upload?.remove();
    }
  }

  #job(asked: SpeechRequest, { path, name }: Upload): Job {
    return {
      ...asked.wish,
      file: path,
      name,
      task: this.task,
      words: asked.logprobs || (asked.format !== "json" && asked.format !== "text"),
      ...(asked.cut && { cut: asked.cut }),
      maxSeconds: this.parts.settings.maxSeconds,
    };
  }

  /** The upload is gone when this ends. */
  async #run(job: Job, onDelta?: (text: string) => void): Promise<JobResult> {
    const { engine, settings, metrics } = this.parts;
    if (engine.state === "starting")
      throw new ApiError(503, "the model is being loaded", {
        code: "engine_unavailable",
        retryAfterSeconds: 2,
      });
    this.#visit?.enter();
    const message = `no result within ${settings.timeoutMs / 1000} s`;
    const timer = setTimeout(
      () => this.#gone.abort(new EngineError({ kind: "deadline", message })),
      settings.timeoutMs,
    );
    try {
      const result = await engine.run(job, { signal: this.#gone.signal, ...(onDelta && { onDelta }) });
      metrics.finished(result);
      this.#visit?.done(result.workSeconds);
      return result;
    } finally {
      this.#visit?.done();
      clearTimeout(timer);
      await this.#upload?.remove();
    }
  }

  async #whole(job: Job, asked: SpeechRequest): Promise<FastifyReply> {
    const { type, body } = answerOf(await this.#run(job), asked, this.task);
    return this.reply.type(type).send(body);
  }

  /** Server-sent events; an error before the first of them has a status of its own. */
  async #stream(job: Job, asked: SpeechRequest): Promise<FastifyReply> {
    const events = new Readable({ read: () => undefined });
    let begun = false;
    const send = (data: object | string): void => {
      events.push(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
      if (begun) return;
      begun = true;
      this.reply.header("cache-control", "no-cache").header("x-accel-buffering", "no");
      void this.reply.type("text/event-stream; charset=utf-8").send(events);
    };
    try {
      const result = await this.#run(job, (delta) => send({ type: "transcript.text.delta", delta }));
      send({
        type: "transcript.text.done",
        text: result.text,
        ...(asked.logprobs && { logprobs: logprobsOf(result) }),
        ...(result.warnings && { warnings: result.warnings }),
        usage: tokenUsage(result),
      });
      send("[DONE]");
    } catch (error) {
      if (!begun) throw error;
      const answer = apiError(error);
      this.parts.metrics.failed(answer.code ?? answer.type);
      send(answer.body);
    } finally {
      events.push(null);
    }
    return this.reply;
  }
}
