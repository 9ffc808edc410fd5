import { html, render } from "lit-html";
import { engine } from "./engine.js";
import { playOneAtATime } from "./player.js";
import { loadExamples } from "./recordings.js";
import { speedView } from "./speed-view.js";
import { type View, changed, drawWith, state, texts } from "./state.js";
import { languages } from "./texts.js";
import { transcribeView } from "./transcribe-view.js";
import { verifyView } from "./verify-view.js";

const views = { transcribe: transcribeView, verify: verifyView, speed: speedView };

function viewOf(hash: string): View {
  const name = hash.slice(1);
  return name in views ? (name as View) : "transcribe";
}

function switchLanguage(): void {
  state.page = state.page === "en" ? "zh" : "en";
  localStorage.setItem("language", state.page);
  changed();
}

const page = () => {
  const t = texts();
  const tab = (view: View) =>
    html`<a href="#${view}" aria-current=${state.view === view ? "page" : "false"}>${t[view]}</a>`;
  return html`<a class="skip" href="#content" @click=${skip}>${t.skip}</a>
    <header>
      <strong>funasr-webgpu</strong>
      <nav>${(Object.keys(views) as View[]).map(tab)}</nav>
      <button class="plain" lang=${state.page === "en" ? "zh" : "en"} @click=${switchLanguage}>
        ${t.otherLanguage}
      </button>
    </header>
    <main id="content" tabindex="-1">${views[state.view](t)}</main>
    <footer><a href="https://github.com/funasr-webgpu/funasr-webgpu">GitHub</a> · Apache-2.0</footer>`;
};

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("content")!.focus();
}

function draw(): void {
  document.documentElement.lang = state.page === "zh" ? "zh-CN" : "en";
  document.title = `${texts()[state.view]} · funasr-webgpu`;
  render(page(), document.getElementById("page")!);
}

const stored = localStorage.getItem("language");
if (stored !== null && stored in languages) state.page = stored as "en";
state.view = viewOf(location.hash);
addEventListener("hashchange", () => {
  state.view = viewOf(location.hash);
  changed();
});
playOneAtATime();
drawWith(draw);
draw();
engine().catch(() => undefined); // the page shows why
loadExamples().catch(() => undefined); // the page works without examples
