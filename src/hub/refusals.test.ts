import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { commit, expectWhole, files, repo, text, useBench } from "../../test/helpers/hub-bench.js";
import { downloadFiles } from "./download.js";

// Plan: a refusal or a wrong answer of the hub is one line with advice.

const bench = useBench();

describe("refused", () => {
  test("no such repository, with and without a token", async () => {
    expect(await bench().refused("owner/other")).toBe(
      "owner/other: HOST wants a token (401): no such repository, or a private one; check the name, or set HF_TOKEN",
    );
    bench().env.HF_TOKEN = "hf_secret";
    expect(await bench().refused("owner/other")).toBe(
      "owner/other: no such repository or file on HOST (404); check the spelling, or give a model directory",
    );
  });

  test("no such revision, no such file", async () => {
    expect(await bench().refused(`${repo}@v9`)).toBe(
      "owner/tiny-model@v9: no revision v9 in the repository (404); check the branch, tag or commit",
    );
    const gone = downloadFiles({ repo, revision: "main" }, () => ["example/ja.mp3"], { env: bench().env });
    await expect(gone).rejects.toThrow(
      "owner/tiny-model: example/ja.mp3: no such file in the repository; check the name and the revision",
    );
    bench().server.faults.set("model.safetensors", {
      status: 404,
      headers: { "x-error-code": "EntryNotFound" },
    });
    expect(await bench().refused()).toBe(
      "owner/tiny-model: model.safetensors: no such file in the repository (404); check the name and the revision",
    );
  });

  test("a private repository: 401 without a token or with a wrong one; only the hub gets the right one", async () => {
    bench().server.repos.set(repo, { files, refs: { main: commit }, token: "hf_right" });
    expect(await bench().refused()).toContain("wants a token (401)");
    bench().env.HF_TOKEN = "hf_wrong";
    const message = await bench().refused();
    expect(message).toBe(
      "owner/tiny-model: HOST refuses the token in HF_TOKEN (401); check that it is valid and may read this repository",
    );
    expect(message).not.toContain("hf_wrong");
    bench().env.HF_TOKEN = " hf_right\n";
    bench().server.asked.length = 0;
    expectWhole(await bench().get());
    const sent = (from: string): Set<string | undefined> =>
      new Set(
        bench()
          .server.asked.filter((asked) => asked.from === from)
          .map(({ authorization }) => authorization),
      );
    expect(sent("hub")).toEqual(new Set(["Bearer hf_right"]));
    expect(sent("storage")).toEqual(new Set([undefined]));
  });

  test("the next page of a listing on another host does not get the token", async () => {
    const { server, env } = bench();
    server.repos.set(repo, { files, refs: { main: commit }, token: "hf_right" });
    Object.assign(server, { pageSize: 2, strayPages: true });
    env.HF_TOKEN = "hf_right";
    await bench().refused();
    const stray = server.asked.filter(({ from }) => from === "storage");
    expect(stray.length).toBeGreaterThan(0);
    expect(new Set(stray.map(({ authorization }) => authorization))).toEqual(new Set([undefined]));
  });

  test("a token from the file of other programs", async () => {
    bench().server.repos.set(repo, { files, refs: { main: commit }, token: "not-of-the-usual-form" });
    writeFileSync(join(bench().home, "token"), "not-of-the-usual-form\n");
    await expect(
      bench().get(repo, { env: { ...bench().env, HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" } }),
    ).rejects.toThrow("wants a token");
    expectWhole(await bench().get());
    writeFileSync(join(bench().home, "token"), "two words");
    expect(await bench().refused()).toBe(
      "HOME/token: expected a token of printable ASCII, got other characters; copy it again",
    );
  });

  test("a gated repository", async () => {
    bench().server.repos.set(repo, { files, refs: { main: commit }, token: "hf_right", gated: true });
    bench().env.HF_TOKEN = "hf_other";
    expect(await bench().refused()).toBe(
      "owner/tiny-model: HOST gives it only to those who accepted its terms (403); accept them on the model's page with the account of the token in HF_TOKEN",
    );
  });

  test("a repository without a checkpoint", async () => {
    bench().server.repos.set(repo, { files: new Map([["README.md", text("x")]]), refs: { main: commit } });
    expect(await bench().refused()).toBe(
      "owner/tiny-model: expected a checkpoint (model.safetensors, model.pt or *.gguf), got README.md; check the name",
    );
  });

  test.each([
    "[]",
    "null",
    '{"sha":5}',
    '{"sha":"../../etc"}',
    "<html>",
    `{"sha":"${commit}","x":"${"y".repeat(17_000_000)}"}`,
  ])("the API's answer is %.20s", async (answer) => {
    bench().server.apiBody = answer;
    expect(await bench().refused()).toMatch(
      /^owner\/tiny-model: expected .* from HOST, got something else; check that HF_ENDPOINT is a hub$/,
    );
  });

  test.each([
    ['[{"type":"file","path":"../x","size":1,"oid":"OID"}]', "../x"],
    ['[{"type":"file","path":"/etc/x","size":1,"oid":"OID"}]', "/etc/x"],
    ['[{"type":"file","path":"a\\\\b","size":1,"oid":"OID"}]', '"a\\\\b"'],
    ['[{"type":"file","path":"a","size":-1,"oid":"OID"}]', "a"],
    ['[{"type":"file","path":"a","size":1,"oid":"../../x"}]', "a"],
    ['[{"type":"file","path":"a","size":1,"oid":"OID","lfs":{"oid":"../x","size":1}}]', "a"],
    ['[{"type":"file","size":1}]', "nothing"],
  ])("a listing of %s", async (listing, at) => {
    bench().server.apiBody = listing.replace("OID", "0".repeat(40));
    expect(await bench().refused(`${repo}@${commit}`)).toBe(
      `the hub's listing: expected plain paths, sizes and hashes, got others at ${at}; nothing of it is kept`,
    );
    expect(existsSync(bench().storage)).toBe(false);
  });

  test("HF_ENDPOINT is not an address, or has no server", async () => {
    bench().env.HF_ENDPOINT = "localhost";
    expect(await bench().refused()).toBe(
      'HF_ENDPOINT: expected a web address, got "localhost"; correct or unset it',
    );
    bench().env.HF_ENDPOINT = "http://127.0.0.1:9/";
    expect(await bench().refused()).toMatch(
      /^owner\/tiny-model: 127\.0\.0\.1:9 cannot be reached \(\w.*\); check the network and HF_ENDPOINT, or give a model directory$/,
    );
  });
});
