// <picture-slider>: figures of one picture, two of which lie on each other with a slider between them.
//
//     <picture-slider sliding>
//       <figure data-name="Original"><img ...><figcaption>...</figcaption></figure>
//       <figure data-name="JPEG"><img ...><figcaption>...</figcaption></figure>
//     </picture-slider>
//
// Without the attribute `sliding`, and where no script runs, the figures stay as the page lays them out. With more than
// two of them, two menus say which are shown. The first figure is on the left, the one with `data-right` or the second
// one on the right.

(() => {
  const STYLE = `
picture-slider[sliding] { display: grid; grid-template-columns: 1fr 1fr; gap: .4rem 1rem; align-items: start; max-width: 100% }
picture-slider[sliding] > figure { display: none }
picture-slider[sliding] > figure:is(.left, .right) { display: contents }
picture-slider[sliding] > figure > :is(img, canvas) { grid-area: 1 / 1 / 2 / -1; width: 100%; height: auto; display: block; user-select: none; touch-action: pan-y; cursor: ew-resize }
picture-slider[sliding] > .right > :is(img, canvas) { clip-path: inset(0 0 0 var(--at)) }
picture-slider[sliding] > .left > figcaption { grid-area: 2 / 1 }
picture-slider[sliding] > .right > figcaption { grid-area: 2 / 2; text-align: right }
picture-slider > .handle, picture-slider > .menus { display: none }
picture-slider[sliding] > .handle { display: block; grid-area: 1 / 1 / 2 / -1; justify-self: start; align-self: stretch; position: relative; z-index: 1; margin-left: var(--at); width: 0; outline: 0; touch-action: none; cursor: ew-resize }
picture-slider > .handle::before { content: ""; position: absolute; inset: 0 -1px; background: #fff; box-shadow: 0 0 0 1px #0006 }
picture-slider > .handle::after { content: "\\2194"; position: absolute; top: 50%; left: -1.1rem; width: 2.2rem; height: 2.2rem; margin-top: -1.1rem; border-radius: 50%; background: #fff; color: #222; box-shadow: 0 1px 5px #0008; font: 1.2rem/2.1rem system-ui, sans-serif; text-align: center }
picture-slider > .handle:focus-visible::after { outline: 3px solid #2f7de1; outline-offset: 2px }
picture-slider[sliding] > .menus { grid-column: 1 / -1; display: flex; flex-wrap: wrap; justify-content: space-between; gap: .4rem 1.5rem }
picture-slider > .menus[hidden] { display: none }
picture-slider > .menus label { margin: 0 }
picture-slider > .menus select { font: inherit; margin-left: .4rem; color: inherit; background: Canvas; border: 1px solid GrayText; border-radius: 4px; padding: .1rem .3rem; max-width: 13rem }`;

  const STEP = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };

  class PictureSlider extends HTMLElement {
    static observedAttributes = ["sliding"];
    #percent = 50;
    #handle = null;
    #menus = null;
    #selects = [];

    connectedCallback() {
      // Children may be parsed, or exchanged, after this.
      new MutationObserver(() => this.#refresh()).observe(this, { childList: true });
      this.#refresh();
    }

    attributeChangedCallback() {
      if (this.isConnected) this.#refresh();
    }

    get #figures() {
      return [...this.querySelectorAll(":scope > figure")];
    }

    #refresh() {
      const figures = this.#figures;
      if (!this.hasAttribute("sliding") || figures.length < 2) return;
      if (!this.#handle) this.#build();
      const names = figures.map((figure) => figure.dataset.name);
      const marked = Math.max(1, figures.findIndex((figure) => "right" in figure.dataset));
      this.#selects.forEach((select, side) => {
        if ([...select.options].map((option) => option.text).join("\n") === names.join("\n")) return;
        const before = select.value;
        select.replaceChildren(...names.map((name) => new Option(name)));
        select.value = names.includes(before) ? before : names[side && marked];
      });
      this.#menus.hidden = figures.length < 3;
      this.#choose();
    }

    #build() {
      this.#handle = document.createElement("div");
      this.#handle.className = "handle";
      this.#handle.tabIndex = 0;
      const attributes = { role: "slider", "aria-orientation": "horizontal", "aria-valuemin": 0, "aria-valuemax": 100 };
      for (const [name, value] of Object.entries(attributes)) this.#handle.setAttribute(name, value);
      this.#handle.setAttribute("aria-label", this.getAttribute("label") ?? "Boundary between the two pictures");
      this.#menus = document.createElement("div");
      this.#menus.className = "menus";
      for (const side of ["Left", "Right"]) {
        const label = document.createElement("label");
        const select = document.createElement("select");
        label.append(side, select);
        select.addEventListener("change", () => this.#choose());
        this.#menus.append(label);
        this.#selects.push(select);
      }
      this.append(this.#handle, this.#menus);
      this.#handle.addEventListener("keydown", (event) => this.#press(event));
      this.addEventListener("pointerdown", (event) => this.#grab(event));
      this.addEventListener("pointermove", (event) => {
        if (this.#handle.hasPointerCapture(event.pointerId)) this.#follow(event);
      });
      this.#place(this.#percent);
    }

    #choose() {
      const chosen = this.#selects.map((select) => select.selectedIndex);
      this.#figures.forEach((figure, at) => {
        figure.classList.toggle("left", at === chosen[0]);
        figure.classList.toggle("right", at === chosen[1] && chosen[0] !== chosen[1]);
      });
      this.#place(this.#percent);
    }

    #place(percent) {
      this.#percent = Math.min(100, Math.max(0, percent));
      this.style.setProperty("--at", `${this.#percent}%`);
      const [left, right] = this.#selects.map((select) => select.value);
      this.#handle.setAttribute("aria-valuenow", Math.round(this.#percent));
      this.#handle.setAttribute("aria-valuetext", `${Math.round(this.#percent)} % ${left}, the rest ${right}`);
    }

    #press(event) {
      const step = STEP[event.key];
      if (!step) return;
      event.preventDefault();
      this.#place(this.#percent + step);
    }

    #grab(event) {
      if (event.button !== 0 || !this.hasAttribute("sliding") || !event.target.matches("img, canvas, .handle")) return;
      event.preventDefault();
      this.#handle.focus({ focusVisible: false });
      this.#handle.setPointerCapture(event.pointerId);
      this.#follow(event);
    }

    #follow(event) {
      const { left, width } = this.getBoundingClientRect();
      this.#place((100 * (event.clientX - left)) / width);
    }
  }

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  customElements.define("picture-slider", PictureSlider);
})();
