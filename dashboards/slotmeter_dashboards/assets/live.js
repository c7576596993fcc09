/* What the pages do without asking the server: ages that count on, titles, colours, search. */
(function () {
  "use strict";
  var SIZES = [
    [60, 1, "s"],
    [3600, 60, "min"],
    [86400, 3600, "h"],
    [Infinity, 86400, "d"],
  ];
  var STALE_MS = 10000;
  var heard = { stamp: null, atMs: 0 };
  var firstPage = true;

  /* The platform's clock, not the viewer's: its newest stamp plus the time since that came. */
  function platformNowMs() {
    var place = document.querySelector("[data-now]");
    var stamp = place ? place.getAttribute("data-now") : heard.stamp;
    if (stamp !== heard.stamp) {
      heard = { stamp: stamp, atMs: performance.now() };
    }
    return stamp === null ? null : Date.parse(stamp) + (performance.now() - heard.atMs);
  }

  /* The page says by itself that nothing comes any more, for when the console cannot. */
  function watch() {
    var note = document.getElementById("stale");
    var silent = document.querySelector("[data-now]") !== null;
    if (note) {
      note.hidden = !(silent && performance.now() - heard.atMs > STALE_MS);
    }
  }

  function age(seconds) {
    var size = SIZES.find(function (each) {
      return seconds < each[0];
    });
    return Math.floor(seconds / size[1]) + "\u00a0" + size[2] + " ago";
  }

  function count() {
    var nowMs = platformNowMs();
    if (nowMs === null) {
      return;
    }
    watch();
    document.querySelectorAll("[data-at]").forEach(function (place) {
      var seconds = Math.max(0, (nowMs - Date.parse(place.getAttribute("data-at"))) / 1000);
      var text = age(seconds);
      if (place.textContent !== text) {
        place.textContent = text;
      }
    });
  }

  function markLinks() {
    var here = window.location.pathname;
    document.querySelectorAll(".nav-link").forEach(function (link) {
      var path = new URL(link.href).pathname;
      var home = document.querySelector(".brand");
      var isHome = home && path === new URL(home.href).pathname;
      var active = isHome ? here === path : here === path || here.indexOf(path + "/") === 0;
      if (active) {
        link.setAttribute("aria-current", "page");
      } else {
        link.removeAttribute("aria-current");
      }
    });
    document.querySelectorAll(".chip").forEach(function (chip) {
      if (chip.classList.contains("is-chosen")) {
        chip.setAttribute("aria-current", "true");
      } else {
        chip.removeAttribute("aria-current");
      }
    });
  }

  /* A part that is drawn anew takes the keyboard's place with it: put it back on the same link. */
  var held = null;
  document.addEventListener("focusin", function (event) {
    var link = event.target.closest("#page a[href]");
    held = link ? { link: link, href: link.getAttribute("href") } : null;
  });
  function keepFocus() {
    if (!held || held.link.isConnected || document.activeElement !== document.body) {
      return;
    }
    var again = Array.from(document.querySelectorAll("#page a[href]")).find(function (link) {
      return link.getAttribute("href") === held.href;
    });
    if (again) {
      again.focus({ preventScroll: true });
    }
  }

  var waiting = false;
  function soon() {
    if (waiting) {
      return;
    }
    waiting = true;
    window.requestAnimationFrame(function () {
      waiting = false;
      count();
      markLinks();
      keepFocus();
    });
  }

  new MutationObserver(soon).observe(document.documentElement, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ["data-at", "data-now", "class"],
  });
  window.setInterval(count, 1000);
  window.slotmeterScheme.onSystemChange(function () {
    window.dash_clientside.set_props("scheme", { data: window.slotmeterScheme.apply() });
  });

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.slotmeter = {
    scheme: function (clicks) {
      return clicks ? window.slotmeterScheme.toggle() : window.slotmeterScheme.current();
    },

    arrived: function (shown) {
      if (!shown) {
        return window.dash_clientside.no_update;
      }
      document.title = shown.title;
      if (!firstPage) {
        window.scrollTo(0, 0);
        window.requestAnimationFrame(function () {
          var heading = document.querySelector("#page h1");
          if (heading) {
            heading.focus({ preventScroll: true });
          }
        });
      }
      firstPage = false;
      soon();
      return shown.id;
    },

    search: function (text, address) {
      var query = new URLSearchParams(address || "");
      var words = (text || "").trim();
      if (words === (query.get("q") || "")) {
        return window.dash_clientside.no_update;
      }
      query.delete("after");
      if (words) {
        query.set("q", words);
      } else {
        query.delete("q");
      }
      return query.toString() ? "?" + query.toString() : "";
    },
  };
})();
