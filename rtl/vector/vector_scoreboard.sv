// Which words the instructions in flight still have to read and to write, and whom that keeps.
//
// An instruction depends on those that were in flight when it was issued. It may read a word once they have written it, and
// write one once they have written or read it, as far as their progress shows (chaining). Instructions that do
// not chain wait until all that they meet have ended: to read, those that write what they read; to write, those that write or read
// what they write.
module vector_scoreboard
  import vector_unit_pkg::*;
#(
  parameter bit Chaining = 1'b1,
  localparam int unsigned Checks = 13,
  localparam int unsigned Reporters = 5
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic       issue_i,
  input  footprint_t footprint_i,
  output logic       free_o,       // an id is free in this cycle
  output id_t        id_o,

  input  progress_t [Reporters-1:0] progress_i,
  output logic [Ids-1:0] live_o,
  output logic [Ids-1:0] ending_o,

  // May an instruction read or write a word in this cycle?
  input  id_t   [Checks-1:0] check_id_i,
  input  word_t [Checks-1:0] check_word_i,
  input  logic  [Checks-1:0] check_write_i,
  output logic  [Checks-1:0] check_free_o,
  // Nothing that it does not chain to is in flight and keeps it from reading, from writing.
  output logic  [Ids-1:0]    may_read_o,
  output logic  [Ids-1:0]    may_write_o
);

  typedef logic [9:0] beats_t;

  logic       [Ids-1:0] live_q, ends;
  logic       [Ids-1:0][Ids-1:0] older_q;   // [younger][older]
  logic       [Ids-1:0][Ids-1:0] read_meets_q;
  logic       [Ids-1:0][Ids-1:0] write_meets_q;
  footprint_t [Ids-1:0] known_q;
  beats_t     [Ids-1:0] beats_q, beats_d, shown;

  always_comb begin
    ends    = '0;
    beats_d = beats_q;
    for (int r = 0; r < int'(Reporters); r++) begin
      if (progress_i[r].valid) begin
        beats_d[progress_i[r].id] = beats_q[progress_i[r].id] + beats_t'(1);
        if (progress_i[r].last) ends[progress_i[r].id] = 1'b1;
      end
    end
  end

  // An id that is given back in this cycle is free.
  always_comb begin
    free_o = 1'b0;
    id_o   = '0;
    for (int id = int'(Ids) - 1; id >= 0; id--) begin
      if (!live_q[id] || ends[id]) begin
        free_o = 1'b1;
        id_o   = id_t'(id);
      end
    end
  end

  function automatic logic overlaps(input span_t a, input span_t b);
    logic unused;
    unused = ^{a, b};
    return a.valid && b.valid && a.first <= b.last && b.first <= a.last;
  endfunction

  logic [Ids-1:0] read_meets, write_meets;
  always_comb begin
    for (int id = 0; id < int'(Ids); id++) begin
      read_meets[id]  = 1'b0;
      write_meets[id] = overlaps(footprint_i.vd, known_q[id].vd);
      for (int s = 0; s < int'(Sources); s++) begin
        read_meets[id]  |= overlaps(footprint_i.sources[s], known_q[id].vd);
        write_meets[id] |= overlaps(footprint_i.vd, known_q[id].sources[s]);
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      live_q        <= '0;
      older_q       <= '0;
      read_meets_q  <= '0;
      write_meets_q <= '0;
    end else begin
      live_q <= live_q & ~ends;
      for (int id = 0; id < int'(Ids); id++) begin
        older_q[id]       <= older_q[id] & ~ends;
        read_meets_q[id]  <= read_meets_q[id] & ~ends;
        write_meets_q[id] <= write_meets_q[id] & ~ends;
      end
      if (issue_i) begin
        live_q[id_o]        <= 1'b1;
        older_q[id_o]       <= live_q & ~ends;
        read_meets_q[id_o]  <= live_q & ~ends & read_meets;
        write_meets_q[id_o] <= live_q & ~ends & write_meets;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    beats_q <= beats_d;
    if (issue_i) begin
      known_q[id_o] <= footprint_i;
      beats_q[id_o] <= '0;
    end
  end

  for (genvar id = 0; id < Ids; id++) begin : gen_shown
    assign shown[id]       = (beats_q[id] >> known_q[id].credit) << known_q[id].credit;
    assign may_read_o[id]  = (Chaining && !known_q[id].unchained) || read_meets_q[id] == '0;
    assign may_write_o[id] = (Chaining && !known_q[id].unchained) || write_meets_q[id] == '0;
  end

  function automatic logic pending(input span_t span, input beats_t beats, input word_t word);
    return span.valid && word >= span.first && word <= span.last &&
           (span.at_end || (beats >> span.shift) <= beats_t'(word) - beats_t'(span.first));
  endfunction

  always_comb begin
    for (int c = 0; c < int'(Checks); c++) begin
      check_free_o[c] = 1'b1;
      for (int id = 0; id < int'(Ids); id++) begin
        if (older_q[check_id_i[c]][id]) begin
          if (pending(known_q[id].vd, shown[id], check_word_i[c])) check_free_o[c] = 1'b0;
          for (int s = 0; s < int'(Sources); s++) begin
            if (check_write_i[c] && pending(known_q[id].sources[s], shown[id], check_word_i[c])) check_free_o[c] = 1'b0;
          end
        end
      end
    end
  end

  assign live_o   = live_q;
  assign ending_o = ends;

endmodule
