// What was asked of the output, and how far it is; looked at again while something is open.
import { json } from "../api.js";
import { el } from "../dom.js";
import { count, duration, when } from "../format.js";
import { complain } from "../notices.js";
import type { Job } from "../types.js";
import { bar, facts } from "./facts.js";
import type { Tab } from "./tabs.js";

const AGAIN_MS = 5000;

export function jobsTab(): Tab {
  const list = el("div", { class: "jobs" });
  const content = el("div", {}, el("h2", {}, "Jobs"), list);
  let timer = 0;
  let looking = false;
  const look = async (): Promise<void> => {
    try {
      const { jobs } = await json<{ jobs: Job[] }>("jobs");
      list.replaceChildren(...(jobs.length === 0 ? [el("p", { class: "hint" }, "No job was planned here.")] : [...jobs].reverse().map(card)));
      if (looking && jobs.some((job) => job.state !== "done")) timer = window.setTimeout(() => void look(), AGAIN_MS);
    } catch (error) {
      complain(error);
    }
  };
  return {
    id: "jobs",
    title: "Jobs",
    content,
    shown: () => {
      looking = true;
      void look();
    },
    hidden: () => {
      looking = false;
      window.clearTimeout(timer);
    },
  };
}

function card(job: Job): HTMLElement {
  const accounted = job.done + job.failed;
  return el(
    "article",
    { class: `job ${job.state}` },
    el("h3", {}, job.job, el("span", { class: "state" }, job.state)),
    bar(job.images === 0 ? 1 : accounted / job.images, `${job.done} / ${job.images}`),
    facts([
      ["Failed", job.failed === 0 ? null : count(job.failed, "image")],
      ["Left", job.left === 0 ? null : count(job.left, "image")],
      ["Skipped", job.skipped === 0 ? null : count(job.skipped, "file")],
      ["Rate", job.rate === null ? null : `${job.rate.toFixed(2)} Mpx/s`],
      ["Time left", job.seconds_left === null ? null : duration(job.seconds_left)],
      ["Planned", when(job.planned)],
      ["Product", job.product],
    ]),
  );
}
