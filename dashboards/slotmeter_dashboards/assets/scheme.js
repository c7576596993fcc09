/* Sets light or dark before the first paint. The viewer's choice wins over the system's. */
(function () {
  "use strict";
  var KEY = "slotmeter-scheme";
  var system = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return window.localStorage.getItem(KEY);
    } catch (refused) {
      return null;
    }
  }

  function current() {
    var choice = chosen();
    return choice === "dark" || choice === "light" ? choice : system.matches ? "dark" : "light";
  }

  function apply() {
    document.documentElement.dataset.scheme = current();
    return current();
  }

  window.slotmeterScheme = {
    apply: apply,
    current: current,
    toggle: function () {
      try {
        window.localStorage.setItem(KEY, current() === "dark" ? "light" : "dark");
      } catch (refused) {
        /* Without storage the page keeps to the system's choice. */
      }
      return apply();
    },
    onSystemChange: function (listener) {
      system.addEventListener("change", listener);
    },
  };
  apply();
})();
