/**
 * The entry of the engine's module worker, `funasr-webgpu/worker`: importing it in a worker serves
 * the page's SpeechWorker.
 */
import { serveEngine } from "./host.js";
import type { MessageEnd, Platform } from "./platform.js";

const scope = globalThis as unknown as MessageEnd & { readonly navigator: Platform };
serveEngine(scope, scope.navigator);
