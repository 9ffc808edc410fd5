// Chromium without a window, spoken to by its DevTools protocol over a pipe.
import { spawn } from "node:child_process";

/**
 * Starts Chromium. @returns `open(url, options)`, which gives a page, and `close()`
 * A page has `send(method, params)`, `evaluate(expression)`, and `lines` of its console and errors.
 */
export function startChromium(program, profile) {
  const args = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    `--user-data-dir=${profile}`,
    "--remote-debugging-pipe",
  ];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const [input, output] = [child.stdio[3], child.stdio[4]];
  const waiting = new Map();
  const pages = new Map();
  let [last, rest] = [0, ""];
  output.setEncoding("utf8");
  output.on("data", (text) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop();
    for (const { id, result, error, method, params, sessionId } of messages.map((m) => JSON.parse(m))) {
      const [resolve, reject] = waiting.get(id) ?? [];
      waiting.delete(id);
      if (error) reject?.(new Error(`chromium: ${error.message}`));
      else resolve?.(result);
      const line = method && lineOf(method, params);
      if (line) pages.get(sessionId)?.push(line);
    }
  });
  child.on("exit", () => {
    for (const [, reject] of waiting.values()) reject(new Error("chromium: ended"));
  });
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, [resolve, reject]);
      input.write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
    });
  return {
    async open(url, { width = 1200, height = 1000, dark = false } = {}) {
      const { targetId } = await send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      const lines = [];
      pages.set(sessionId, lines);
      const tell = (method, params) => send(method, params, sessionId);
      for (const domain of ["Page", "Runtime", "Log"]) await tell(`${domain}.enable`);
      const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }];
      await tell("Emulation.setEmulatedMedia", { features });
      const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
      await tell("Emulation.setDeviceMetricsOverride", metrics);
      const evaluate = async (expression) => {
        const options = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
        const { result, exceptionDetails } = await tell("Runtime.evaluate", options);
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? expression);
        return result.value;
      };
      await tell("Page.navigate", { url });
      while (!(await evaluate(`location.href !== "about:blank" && document.readyState === "complete"`)))
        await new Promise((resolve) => setTimeout(resolve, 50));
      return { lines, send: tell, evaluate };
    },
    close: () => child.kill(),
  };
}

/** A line of the console or an error, of an event that has one. */
function lineOf(method, params) {
  if (method === "Runtime.consoleAPICalled") return params.args.map(({ value }) => value).join(" ");
  if (method === "Runtime.exceptionThrown") return params.exceptionDetails.exception?.description ?? "error";
  return method === "Log.entryAdded" ? params.entry.text : undefined;
}
