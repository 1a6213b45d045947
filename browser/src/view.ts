/** What the page shows. */

import type { Picture } from "./codec";
import { canvasOf } from "./pictures";

/** The element of that id. */
export function element<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

/** Say what happens, to screen readers too. */
export function say(message: string): void {
  element("error").textContent = "";
  element("message").textContent = message;
}

/** Say in one line why something was refused. */
export function refuse(message: string): void {
  element("message").textContent = "";
  element("error").textContent = message;
}

export function bytes(count: number): string {
  return `${count.toLocaleString("en")} bytes`;
}

/** A picture with its name, for the slider. */
export function figure(name: string, picture: Picture, caption: string): HTMLElement {
  const made = document.createElement("figure");
  const canvas = canvasOf(picture);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  const text = document.createElement("figcaption");
  const title = document.createElement("b");
  title.textContent = name;
  text.append(title, ` ${caption}`);
  made.dataset.name = name;
  made.append(canvas, text);
  return made;
}

/** Terms and their values in a list of facts. */
export function facts(list: HTMLElement, entries: [string, string][]): void {
  list.replaceChildren(
    ...entries.map(([term, value]) => {
      const pair = document.createElement("div");
      const name = document.createElement("dt");
      const text = document.createElement("dd");
      name.textContent = term;
      text.textContent = value;
      pair.append(name, text);
      return pair;
    }),
  );
}

/** A row of the table of formats; a text in place of figures takes their columns. */
export function row(name: string, cells: [string, string] | string, note: string): HTMLTableRowElement {
  const made = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  made.append(head);
  if (typeof cells === "string") {
    const cell = made.insertCell();
    cell.colSpan = 3;
    cell.className = "soft";
    cell.textContent = cells;
    return made;
  }
  for (const cell of cells) made.insertCell().textContent = cell;
  const last = made.insertCell();
  last.className = "soft";
  last.textContent = note;
  return made;
}
